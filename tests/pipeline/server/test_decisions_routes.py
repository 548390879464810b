"""Unknown people, corrections, forgetting, calibration and the gallery's check over HTTP."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from facestream.pipeline.calibration import CalibrationResult
from facestream.pipeline.core.events import FusedTemplate
from facestream.pipeline.core.images import read_image
from facestream.pipeline.identity.calibrated import StoredCalibration
from facestream.pipeline.recognition.align import align_faces
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.server.conftest import FREE, PORTRAITS, Served, publish, settings_for
from tests.pipeline.sightings.stored import appeared, left
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with folders for media and backups."""
    folder = tmp_path_factory.mktemp("house")
    for name in ("videos", "backups", "secret"):
        (folder / name).mkdir()
    settings = settings_for(
        folder / "house.db",
        **{
            "server.media_folders": [folder / "videos"],
            "server.backup_folder": folder / "backups",
            "storage.retention": {"unsure": "1d"},
        },
    )
    with ServiceServer(settings, FREE) as server:
        yield Served(server)


@pytest.fixture
def client(house: Served) -> Iterator[httpx.Client]:
    with house.client() as client:
        yield client


def seen(house: Served, picture: str, *, at: float = 0.0) -> str:
    """A stored sighting with the face of a portrait; returns its id."""
    service = house.server.service
    image = read_image(PORTRAITS / picture)
    faces = service.analyzer.analyze(image).faces
    assert faces.mu is not None
    assert faces.logvar is not None
    model = {"model": service.analyzer.model_id}
    first = appeared(at=at).model_copy(update=model)
    last = left(first).model_copy(update={**model, "best_score": 0.99})
    crop = align_faces(image, faces.landmarks[:1])[0]
    last = last.with_image(image, crop).with_template(
        FusedTemplate(faces.mu[0], faces.logvar[0], 0.3)
    )
    with Sightings(service.sightings.path) as store:
        writer = SightingWriter(store)
        for event in (first, last):
            writer.event(event, pace="waits")
        writer.close()
    for event in (first, last):
        service.events.publish(event)
    return str(first.sighting)


def done(client: httpx.Client, job: httpx.Response) -> Any:
    """The job when it has ended."""
    assert job.status_code == 202, job.text
    where = job.headers["location"]
    wait_until(lambda: client.get(where).json()["ended_at"] is not None)
    return client.get(where).json()


def test_an_unknown_person_gets_a_name_which_is_undone(house: Served, client: httpx.Client) -> None:
    uid = seen(house, "astronaut.jpg")
    [cluster] = client.get("/api/v1/unknown").json()["clusters"]
    assert (cluster["size"], cluster["best"]["id"]) == (1, uid)
    where = f"/api/v1/unknown/{cluster['id']}"
    assert client.get(where).json()["sightings"] == [uid]
    assert client.post(f"{where}/ignore", json={}).json()["state"] == "ignored"
    assert client.get("/api/v1/unknown").json()["clusters"] == []
    assert client.post(f"{where}/ignore", json={"ignored": False}).json()["state"] == "open"
    named = client.post(f"{where}/name", json={"name": "Eileen"}).json()
    assert (named["name"], named["new"], named["sightings"]) == ("Eileen", True, 1)
    assert client.get(f"/api/v1/sightings/{uid}").json()["fixed"]
    why = client.get(f"/api/v1/sightings/{uid}/why").json()
    assert why["history"][-1]["after"]["name"] == "Eileen"
    assert why["history"][-1]["who"] == "local"
    assert client.get("/api/v1/operations").json()["operations"][0]["kind"] == "name"
    last = client.get("/api/v1/operations").json()["operations"][0]["id"]
    other = client.post("/api/v1/undo", params={"expected": last + 1})
    assert (other.status_code, str(last) in other.json()["detail"]) == (409, True)
    undone = client.post("/api/v1/undo", params={"expected": last}).json()
    assert undone["kind"] == "name"
    assert client.post("/api/v1/undo", params={"expected": last}).status_code in (409, 422)
    assert client.get(f"/api/v1/sightings/{uid}").json()["name"] == "unknown"
    assert client.get("/api/v1/unknown/999").status_code == 404
    assert client.post(f"{where}/merge", json={"others": [cluster["id"]]}).status_code == 422
    client.post("/api/v1/forget", json={"sightings": [uid]})


def test_photos_name_the_past_and_forgetting_erases_it(
    house: Served, client: httpx.Client, portrait_bytes: bytes
) -> None:
    uid = seen(house, "astronaut.jpg", at=100)
    other = seen(house, "hopper.jpg", at=100)
    person = client.post("/api/v1/people", json={"name": "Ada"}).headers["location"]
    added = client.post(f"{person}/photos", files={"photos": portrait_bytes}).json()
    job = f"/api/v1/jobs/{added['job']}"
    wait_until(lambda: client.get(job).json()["ended_at"] is not None)
    assert client.get(job).json()["result"] == {"named": 1}
    assert client.get(f"/api/v1/sightings/{uid}").json()["name"] == "Ada"

    def found() -> list[str]:
        answer = client.post("/api/v1/search", files={"image": portrait_bytes}).json()
        return [hit["sighting"]["id"] for hit in answer["hits"]]

    assert found() == [uid]
    learned = client.post(f"{person}/learn", json={"sightings": [uid]}).json()["faces"]
    assert (learned[0]["sighting"], learned[0]["photo_id"]) == (uid, None)
    assert learned[0]["reason"] in ("redundant", "duplicate")
    plan = client.post("/api/v1/forget/preview", json={"person": "Ada"}).json()
    assert (plan["sightings"], plan["photos"]) == (1, 1)
    gone = client.delete(person)
    assert gone.status_code == 204
    receipt = client.get(gone.headers["location"]).json()
    assert receipt["proved"], receipt
    assert receipt["by"] == "local"
    assert receipt["outputs"]["memory of the service"]["events"] == 2
    assert client.get("/api/v1/receipts").json()["receipts"][0]["id"] == receipt["id"]
    assert client.get(f"/api/v1/sightings/{uid}").status_code == 404
    assert found() == []
    ended = done(client, client.post("/api/v1/forget", json={"sightings": [other]}))
    assert ended["result"]["receipt"]["proved"]
    assert client.post("/api/v1/forget", json={}).status_code == 422
    assert client.post("/api/v1/forget", json={"person": "Nobody"}).status_code == 404


def test_a_correction_stays(house: Served, client: httpx.Client) -> None:
    uid = seen(house, "hopper.jpg", at=200)
    where = f"/api/v1/sightings/{uid}/correct"
    assert client.post(where, json={"what": "is"}).status_code == 422
    named = client.post(where, json={"what": "is", "name": "Grace"}).json()
    assert (named["name"], named["fixed"], named["verdict"]) == ("Grace", True, "known")
    refused = client.post(where, json={"what": "ignore"})
    assert refused.status_code == 422
    assert client.post(where, json={"what": "is_not", "name": "Grace"}).json()["name"] == "unknown"
    assert client.post(where, json={"what": "stranger"}).json()["verdict"] == "stranger"
    assert client.post(where, json={"what": "ignore"}).json()["ignored"]
    assert client.post("/api/v1/sightings/none/correct", json={"what": "stranger"}).status_code == (
        404
    )


def test_photos_are_set_aside_dated_and_checked(
    client: httpx.Client, portrait_bytes: bytes
) -> None:
    person = client.post("/api/v1/people", json={"name": "Alan"}).headers["location"]
    added = client.post(f"{person}/photos", files={"photos": portrait_bytes}).json()
    photo = f"{person}/photos/{added['accepted'][0]['id']}"
    aside = client.post(f"{photo}/set-aside", json={"reason": "eyes closed"}).json()
    assert (aside["aside"], aside["aside_reason"]) == (True, "eyes closed")
    faces = client.post("/api/v1/recognise", files={"image": portrait_bytes}).json()["faces"]
    assert faces[0]["person_id"] is None
    assert not client.post(f"{photo}/restore").json()["aside"]
    dated = client.patch(photo, json={"valid_from": "2030-01-01", "valid_until": "2040-01-01"})
    assert dated.json()["valid_from"] == "2030-01-01T00:00:00Z"
    assert client.patch(photo, json={"valid_until": "2029-01-01"}).status_code == 422
    assert client.patch(photo, json={"valid_from": None}).json()["valid_from"] is None
    assert client.patch(f"{person}/photos/999999", json={}).status_code == 404
    check = client.get("/api/v1/gallery/check").json()
    assert {one["kind"] for one in check["findings"]} == {"few_photos"}
    assert client.get("/api/v1/gallery/check?show=problems").json()["findings"] == []
    assert client.delete(person).status_code == 204


def test_a_calibration_needs_people(client: httpx.Client) -> None:
    assert not client.get("/api/v1/calibration").json()["calibrated"]
    ended = done(client, client.post("/api/v1/calibration", json={}))
    assert not ended["result"]["applicable"]
    number = ended["result"]["calibration"]
    apply = {"calibration": number}
    assert client.post("/api/v1/calibration/apply", json=apply).status_code == 422
    apply = {"calibration": "0" * 16}
    assert client.post("/api/v1/calibration/apply", json=apply).status_code == 409
    assert not client.delete("/api/v1/calibration").json()["calibrated"]


def test_a_calibration_holds_from_now_on(house: Served, client: httpx.Client) -> None:
    """The service kept the thresholds that it began with, and so did its cameras."""
    service = house.server.service
    card = service.analyzer.encoder.card
    before = service.analyzer.matcher.thresholds.similarity
    kept = load_cohort(card.id).card.thresholds
    assert kept is not None
    stored = StoredCalibration(
        model=card.id,
        normalise="cohort",
        created="2030-01-01T00:00:00+00:00",
        thresholds=kept.model_copy(update={"similarity": 0.61}),
    )
    service.calibration = ("0" * 16, CalibrationResult(stored, (), {}))
    applied = client.post("/api/v1/calibration/apply", json={"calibration": "0" * 16})
    assert applied.json()["calibrated"]
    assert service.analyzer.matcher.thresholds.similarity != before
    reset = client.delete("/api/v1/calibration")
    assert not reset.json()["calibrated"]
    assert service.analyzer.matcher.thresholds.similarity == before


def test_retention_check_backup_and_encryption(house: Served, client: httpx.Client) -> None:
    uid = seen(house, "astronaut.jpg", at=-400_000_000)
    kept = client.get("/api/v1/retention").json()
    assert kept["limits"]["unsure"] == 86400
    assert kept["sightings"]["unsure"] >= 1
    ended = done(client, client.post("/api/v1/retention/run"))
    assert ended["result"]["receipt"]["kind"] == "retention"
    assert client.get(f"/api/v1/sightings/{uid}").status_code == 404
    assert done(client, client.post("/api/v1/database/check"))["result"] == {"findings": []}
    backup = done(client, client.post("/api/v1/database/backup"))["result"]
    folder = house.server.service.settings.server.backup_folder
    assert folder is not None
    assert (folder / backup["file"]).stat().st_size == backup["bytes"]
    assert client.get("/api/v1/encryption").json()["state"] == "off"


@pytest.mark.parametrize(
    "file",
    [
        "videos/../secret/a.jpg",
        "videos/link.jpg",
        "videos/folder/a.jpg",
        "/etc/passwd",
        "secret/a.jpg",
        "videos//a.jpg",
        "videos/a\\b",
        "videos/a\0b",
        "videos/none.jpg",
    ],
)
def test_files_outside_of_the_folders_are_refused(
    house: Served, client: httpx.Client, file: str
) -> None:
    videos = house.server.service.settings.server.media_folders[0]
    secret = videos.parent / "secret"
    shutil.copy(PORTRAITS / "astronaut.jpg", secret / "a.jpg")
    for link, target in (("link.jpg", secret / "a.jpg"), ("folder", secret)):
        if not (videos / link).is_symlink():
            (videos / link).symlink_to(target)
    asked = client.post("/api/v1/redact", json={"file": file, "out": "videos/out.jpg"})
    assert asked.status_code in (404, 422), asked.text
    asked = client.post("/api/v1/redact", json={"file": "videos/ok.jpg", "out": file})
    assert asked.status_code in (404, 422), asked.text


def test_a_picture_of_an_allowed_folder_is_redacted(house: Served, client: httpx.Client) -> None:
    videos = house.server.service.settings.server.media_folders[0]
    shutil.copy(PORTRAITS / "astronaut.jpg", videos / "party.jpg")
    body = {"file": "videos/party.jpg", "out": f"videos/{uuid.uuid4().hex}.jpg"}
    report = done(client, client.post("/api/v1/redact", json=body))
    assert report["state"] == "done", report
    assert (report["result"]["covered"], report["result"]["out"]) == (1, body["out"])
    assert client.post("/api/v1/redact", json=body).status_code == 409
    assert client.post("/api/v1/redact", json={**body, "keep": ["a"], "only": ["b"]}).is_error


def test_who_sees_one_camera_changes_no_other(keyed_server: Served) -> None:
    hall = publish(keyed_server, source="hall", shade=17)
    with keyed_server.client("door") as scoped:
        for method, path, body in (
            ("GET", "unknown", None),
            ("GET", "operations", None),
            ("POST", "undo", None),
            ("POST", "forget", {"before": "2030-01-01"}),
            ("DELETE", "people/1", None),
            ("GET", "receipts", None),
        ):
            assert scoped.request(method, f"/api/v1/{path}", json=body).status_code == 403
        asked = scoped.post(f"/api/v1/sightings/{hall}/correct", json={"what": "stranger"})
        assert asked.status_code == 404
