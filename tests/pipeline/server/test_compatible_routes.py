"""The APIs of DeepStack, CodeProject.AI and CompreFace, with requests as their clients send them.

These are Double Take and deepstack-python, and Double Take, Viseron and compreface-sdk.
Paths, fields and headers are those of their source.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from facestream.pipeline.access.keys import add_key
from facestream.pipeline.access.roles import ROLES
from facestream.pipeline.access.users import add_user
from facestream.pipeline.server.routes.compatible import ROUTERS
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sightings import Sightings
from fastapi.routing import APIRoute

from tests.pipeline.server.conftest import FREE, PASSWORD, Served, settings_for

FACE = "/v1/vision/face"
RECOGNITION = "/api/v1/recognition"
RANK = {"viewer": 0, "operator": 1, "admin": 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that speaks both, with keys of every role."""
    database = tmp_path_factory.mktemp("compatible") / "house.db"
    with Sightings(database, create="if_missing") as store:
        keys = {str(role): add_key(store, role, role=role)[1] for role in ROLES}
        add_user(store, "ada", PASSWORD, role="operator")
    settings = settings_for(database, **{"server.compatible": ("deepstack", "compreface")})
    with ServiceServer(settings, FREE) as server:
        yield Served(server, keys)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as made:
        yield made


@pytest.fixture(scope="module")
def blank() -> bytes:
    """A picture without a face."""
    return cv2.imencode(".jpg", np.full((120, 160, 3), 127, np.uint8))[1].tobytes()


class DeepStack:
    """Sends what deepstack-python and Double Take send: the key is a field of the form."""

    def __init__(self, client: httpx.Client, key: str) -> None:
        self.client, self.key = client, key

    def post(self, path: str, picture: bytes | None = None, **data: Any) -> httpx.Response:
        files = {} if picture is None else {"image": ("image.jpg", picture)}
        form = {"api_key": self.key, **data}
        return self.client.post(f"{FACE}{path}", files=files or None, data=form)


@pytest.fixture
def deepstack(client: httpx.Client, served: Served) -> DeepStack:
    return DeepStack(client, served.keys["operator"])


@pytest.fixture
def compreface(served: Served) -> Iterator[httpx.Client]:
    headers = {"x-api-key": served.keys["operator"]}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as made:
        yield made


def test_a_deepstack_client_registers_recognises_lists_and_deletes(
    deepstack: DeepStack, portrait_bytes: bytes, other_portrait: bytes, blank: bytes
) -> None:
    name = f"Ada {uuid.uuid4().hex[:6]}"
    added = deepstack.post("/register", portrait_bytes, userid=name, min_confidence=0.45)
    assert (added.status_code, added.json()["success"]) == (200, True)
    assert added.json()["message"] == "face added"
    again = deepstack.post("/register", portrait_bytes, userid=name).json()
    assert again["message"] == "face updated"
    assert name in deepstack.post("/list").json()["faces"]
    seen = deepstack.post("/recognize", portrait_bytes, min_confidence=0.45).json()
    [face] = seen["predictions"]
    assert face["userid"] == name
    assert 0.45 <= face["confidence"] <= 1
    assert 0 <= face["x_min"] < face["x_max"]
    assert 0 <= face["y_min"] < face["y_max"]
    assert {type(face[corner]) for corner in ("x_min", "y_min", "x_max", "y_max")} == {int}
    assert (seen["success"], seen["count"], seen["code"]) == (True, 1, 200)
    assert {"duration", "inferenceMs", "processMs", "message"} <= set(seen)
    [stranger] = deepstack.post("/recognize", other_portrait).json()["predictions"]
    assert (stranger["userid"], stranger["confidence"]) == ("unknown", 0)
    [found] = deepstack.post("", portrait_bytes).json()["predictions"]
    assert set(found) == {"confidence", "x_min", "y_min", "x_max", "y_max"}
    assert deepstack.post("/recognize", blank).json()["predictions"] == []
    assert deepstack.post("/delete", userid=name).json()["success"] is True
    assert deepstack.post("/delete", userid=name).json()["success"] is True
    assert deepstack.post("/list").json()["faces"] == []


def test_deepstack_takes_pictures_under_any_field_name(
    client: httpx.Client, served: Served, portrait_bytes: bytes
) -> None:
    data = {"userid": "Several", "api_key": served.keys["operator"]}
    files = {"image1": portrait_bytes, "image2": b"no picture"}
    done = client.post(f"{FACE}/register", files=files, data=data).json()
    assert done["success"] is True
    client.post(f"{FACE}/delete", data=data)


def test_errors_of_deepstack(deepstack: DeepStack, blank: bytes, portrait_bytes: bytes) -> None:
    for answer, status, text in (
        (deepstack.post("/recognize"), 400, "No valid image file found"),
        (deepstack.post("/recognize", b"text"), 400, "picture"),
        (deepstack.post("/recognize", blank, min_confidence="much"), 400, "min_confidence"),
        (deepstack.post("/register", portrait_bytes), 400, "userid not specified"),
        (deepstack.post("/register", blank, userid="Nobody"), 400, "No face detected"),
        (deepstack.post("/register", portrait_bytes, userid="unknown"), 400, "unknown"),
        (deepstack.post("/nothing"), 404, "Not Found"),
    ):
        told = answer.json()
        assert (answer.status_code, told["success"]) == (status, False), told
        assert text in told["error"]
        assert answer.headers["content-type"] == "application/json"


def test_the_key_of_a_form_counts_as_any_other(
    client: httpx.Client, served: Served, portrait_bytes: bytes
) -> None:
    for key, status in (("", 401), ("fs_" + "x" * 43, 401), (served.keys["viewer"], 403)):
        answer = DeepStack(client, key).post("/register", portrait_bytes, userid="X")
        assert (answer.status_code, answer.json()["success"]) == (status, False)
    header = {"x-api-key": served.keys["operator"]}
    assert client.post(f"{FACE}/list", headers=header).json()["success"] is True
    # What is kept for somebody's key is not given to others, who have none.
    kept = {"Idempotency-Key": uuid.uuid4().hex}
    good = {"api_key": served.keys["operator"]}
    assert client.post(f"{FACE}/list", data=good, headers=kept).status_code == 200
    assert client.post(f"{FACE}/list", data={"a": "b"}, headers=kept).status_code == 401
    # A key in the form is one of these routes only.
    assert client.post("/api/v1/people", data=good).status_code == 401
    assert client.get("/api/v1/people", headers=header).status_code == 401


def test_wrong_keys_in_forms_are_slowed_down(client: httpx.Client, served: Served) -> None:
    service = served.server.service
    limit, service.failures._most = service.failures._most, 2.0
    try:
        wrong = DeepStack(client, "fs_wrong")
        codes = [wrong.post("/list").status_code for _ in range(4)]
        assert codes == [401, 401, 429, 429]
        assert wrong.post("/list").json()["success"] is False
    finally:
        service.failures._most = limit
        service.failures._buckets.clear()


def test_places_of_forms_without_a_known_key_come_back(
    client: httpx.Client, served: Served
) -> None:
    for _ in range(12):
        assert DeepStack(client, "").post("/list").status_code == 401
    assert served.server.service.form_places._actors.total() == 0


def test_compreface_subjects_and_faces(
    compreface: httpx.Client, portrait_bytes: bytes, blank: bytes
) -> None:
    name = f"Grace {uuid.uuid4().hex[:6]}"
    made = compreface.post(f"{RECOGNITION}/subjects", json={"subject": name})
    assert (made.status_code, made.json()) == (201, {"subject": name})
    # compreface-sdk sends the old name in the body, too.
    renamed = {"api_endpoint": name, "subject": f"{name} H"}
    assert compreface.put(f"{RECOGNITION}/subjects/{name}", json=renamed).json() == {
        "updated": True
    }
    name = f"{name} H"
    assert name in compreface.get(f"{RECOGNITION}/subjects/").json()["subjects"]
    added = compreface.post(
        f"{RECOGNITION}/faces",
        params={"subject": name, "det_prob_threshold": 0.8},
        files={"file": ("image.jpg", portrait_bytes)},
    )
    assert (added.status_code, added.json()["subject"]) == (201, name)
    image = added.json()["image_id"]
    uuid.UUID(image)
    again = compreface.post(
        f"{RECOGNITION}/faces", params={"subject": name}, files={"file": portrait_bytes}
    )
    assert again.json()["image_id"] == image
    listed = compreface.get(f"{RECOGNITION}/faces", params={"subject": name, "size": 5}).json()
    assert listed["faces"] == [{"image_id": image, "subject": name}]
    assert (listed["page_number"], listed["page_size"], listed["total_elements"]) == (0, 5, 1)
    assert compreface.get(f"{RECOGNITION}/faces/{image}/img").content.startswith(b"\x89PNG")
    alike = compreface.post(f"{RECOGNITION}/faces/{image}/verify", files={"file": portrait_bytes})
    assert alike.json()["result"][0]["similarity"] > 0.9
    gone = compreface.delete(f"{RECOGNITION}/faces", params={"subject": name})
    assert gone.json() == {"deleted": 1}
    assert name not in compreface.get(f"{RECOGNITION}/subjects").json()["subjects"]
    assert compreface.delete(f"{RECOGNITION}/faces/{image}").status_code == 404
    for path in ("subjects", "faces"):  # all people at once
        assert compreface.delete(f"{RECOGNITION}/{path}").status_code == 403


def test_compreface_recognises(
    compreface: httpx.Client, portrait_bytes: bytes, other_portrait: bytes
) -> None:
    name, files = f"Joan {uuid.uuid4().hex[:6]}", {"file": ("image.jpg", portrait_bytes)}
    compreface.post(f"{RECOGNITION}/faces", params={"subject": name}, files=files)
    query: dict[str, str | float] = {
        "limit": 1,
        "det_prob_threshold": 0.8,
        "prediction_count": 2,
        "face_plugins": "landmarks,calculator,age",
        "status": "true",
    }
    told = compreface.post(f"{RECOGNITION}/recognize", params=query, files=files).json()
    [face] = told["result"]
    assert set(face["box"]) == {"probability", "x_min", "y_min", "x_max", "y_max"}
    assert face["subjects"][0]["subject"] == name
    assert face["subjects"][0]["similarity"] > 0.9
    assert (len(face["landmarks"]), len(face["embedding"])) == (5, 128)
    assert set(told["plugins_versions"]) == {"detector", "calculator"}
    # Viseron reads the first subject of every face, and compares its similarity.
    other = compreface.post(f"{RECOGNITION}/recognize", files={"file": other_portrait}).json()
    assert other["result"][0]["subjects"][0]["similarity"] < 0.5
    compreface.delete(f"{RECOGNITION}/subjects/{name}")


def test_compreface_detects_and_verifies(
    compreface: httpx.Client, portrait_bytes: bytes, other_portrait: bytes
) -> None:
    [face] = compreface.post("/api/v1/detection/detect", files={"file": portrait_bytes}).json()[
        "result"
    ]
    assert set(face) == {"box"}
    for target, same in ((portrait_bytes, True), (other_portrait, False)):
        files = {"source_image": portrait_bytes, "target_image": target}
        [one] = compreface.post("/api/v1/verification/verify", files=files).json()["result"]
        assert set(one["source_image_face"]) == {"box"}
        assert (one["face_matches"][0]["similarity"] > 0.5) == same


def test_errors_of_compreface(
    compreface: httpx.Client, client: httpx.Client, served: Served, blank: bytes
) -> None:
    recognise, faces = f"{RECOGNITION}/recognize", f"{RECOGNITION}/faces"
    image = {"file": ("image.jpg", blank)}
    none = {"code": 28, "message": "No face is found in the given image"}
    for answer, status, code in (
        (compreface.post(recognise, files=image), 400, 28),
        (compreface.post(faces, params={"subject": "X"}, files=image), 400, 28),
        (compreface.post(faces, files=image), 400, 26),
        (compreface.post(recognise, files={"file": b"text"}), 400, 21),
        (compreface.post(recognise, params={"limit": -1}, files=image), 400, 26),
        (compreface.get(f"{faces}/{uuid.uuid4()}/img"), 404, 11),
        (client.post(recognise, files=image), 401, 20),
        (client.post(recognise, files=image, headers={"x-api-key": "wrong"}), 401, 20),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert set(answer.json()) == {"code", "message"}
    assert compreface.post(recognise, files=image).json() == none
    viewer = {"x-api-key": served.keys["viewer"]}
    asked = client.post(
        recognise, params={"face_plugins": "calculator"}, files=image, headers=viewer
    )
    assert asked.status_code == 403  # viewers get no embeddings


@pytest.mark.parametrize("who", ["nobody", "viewer", "operator", "admin"])
def test_every_route_of_theirs_refuses_who_may_not(
    served: Served, client: httpx.Client, who: str
) -> None:
    headers = {} if who == "nobody" else {"x-api-key": served.keys[who]}
    for router in (one for routers in ROUTERS.values() for one in routers):
        roles = [getattr(one.dependency, "role", None) for one in router.dependencies]
        [role] = filter(None, roles)
        for route in router.routes:
            assert isinstance(route, APIRoute)
            path = route.path.format(subject="nobody", image_id=uuid.UUID(int=9))
            for method in route.methods or ():
                asked = client.request(method, path, headers=headers)
                refused = 401 if who == "nobody" else 403
                may = who != "nobody" and RANK[who] >= RANK[role]
                if "all people at once" in asked.text or "all photos at once" in asked.text:
                    continue
                assert (asked.status_code != refused) == may, (method, path, asked.text)
                assert asked.status_code < 500


def test_a_session_needs_its_csrf_token_here_too(served: Served) -> None:
    with served.client() as browser:
        browser.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
        asked = browser.post(f"{FACE}/delete", data={"userid": "X"})
        assert (asked.status_code, asked.json()["success"]) == (403, False)


def test_they_are_off_unless_asked_for(anyone: httpx.Client, portrait_bytes: bytes) -> None:
    for path in (f"{FACE}/recognize", f"{RECOGNITION}/recognize"):
        asked = anyone.post(path, files={"image": portrait_bytes})
        assert (asked.status_code, asked.headers["content-type"]) == (
            404, "application/problem+json",
        )  # fmt: skip


def test_pages_of_other_sites_register_nobody_on_an_open_service(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "house.db", **{"server.compatible": ("deepstack",)})
    with ServiceServer(settings, FREE) as server, httpx.Client(base_url=server.url) as made:
        evil = {"Origin": "http://evil.example"}
        asked = made.post(f"{FACE}/delete", headers=evil, data={"userid": "X"})
        assert asked.status_code == 403
        assert made.post(f"{FACE}/list").json()["faces"] == []
