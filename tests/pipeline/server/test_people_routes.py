"""People and photos over HTTP."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.pipeline.server.conftest import Served


def fresh() -> str:
    return f"Person {uuid.uuid4().hex[:8]}"


@pytest.fixture
def person(anyone: httpx.Client) -> str:
    """The address of somebody new."""
    made = anyone.post("/api/v1/people", json={"name": fresh()})
    assert made.status_code == 201
    return made.headers["location"]


def test_a_person_is_made_read_renamed_and_removed(anyone: httpx.Client) -> None:
    name = fresh()
    made = anyone.post("/api/v1/people", json={"name": name})
    where = made.headers["location"]
    assert where == f"/api/v1/people/{made.json()['id']}"
    read = anyone.get(where)
    assert read.json() == made.json()
    assert read.json()["name"] == name
    again = anyone.post("/api/v1/people", json={"name": name.upper()})
    assert again.status_code == 409
    changed = anyone.patch(where, json={"name": name + " II"})
    assert changed.json()["name"] == name + " II"
    assert anyone.delete(where).status_code == 204
    gone = anyone.get(where)
    assert gone.status_code == 404
    assert gone.headers["content-type"] == "application/problem+json"
    assert gone.json()["status"] == 404


def test_a_change_of_another_state_is_refused(anyone: httpx.Client, person: str) -> None:
    tag = anyone.get(person).headers["etag"]
    assert anyone.get(person, headers={"If-None-Match": tag}).status_code == 304
    first = anyone.patch(person, json={"name": fresh()}, headers={"If-Match": tag})
    assert first.status_code == 200
    assert anyone.get(person, headers={"If-None-Match": tag}).status_code == 200
    second = anyone.patch(person, json={"name": fresh()}, headers={"If-Match": tag})
    assert second.status_code == 412
    assert anyone.delete(person, headers={"If-Match": tag}).status_code == 412
    assert anyone.get(person).json()["name"] == first.json()["name"]


def test_photos_are_enrolled_or_rejected_with_the_reason(
    anyone: httpx.Client, person: str, portrait_bytes: bytes
) -> None:
    photos = [
        ("photos", ("../../etc/ada\x00.jpg", portrait_bytes)),
        ("photos", ("text.jpg", b"not a picture")),
        ("photos", ("again.jpg", portrait_bytes)),
    ]
    done = anyone.post(f"{person}/photos", files=photos).json()
    assert [one["index"] for one in done["accepted"]] == [0]
    assert "/" not in done["accepted"][0]["filename"]
    assert [(one["index"], one["filename"], one["reason"]) for one in done["rejected"]] == [
        (1, "text.jpg", "unreadable"),
        (2, "again.jpg", "duplicate"),
    ]
    [photo] = anyone.get(f"{person}/photos").json()["photos"]
    assert photo["id"] == done["accepted"][0]["id"]
    picture = anyone.get(photo["picture"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    found = anyone.post("/api/v1/recognise", files={"image": portrait_bytes}).json()["faces"]
    assert person.endswith(f"/{found[0]['person_id']}")
    assert found[0]["verdict"] == "known"
    assert found[0]["reason"] is None
    assert anyone.delete(f"{person}/photos/{photo['id']}").status_code == 409
    assert anyone.delete(person).status_code == 204
    found = anyone.post("/api/v1/recognise", files={"image": portrait_bytes}).json()["faces"]
    assert found[0]["person_id"] is None
    assert found[0]["name"] == "unknown"


def test_photos_of_nobody_and_forms_without_photos(
    anyone: httpx.Client, person: str, portrait_bytes: bytes
) -> None:
    nobody = anyone.post("/api/v1/people/999999/photos", files={"photos": portrait_bytes})
    assert nobody.status_code == 404
    assert anyone.post(f"{person}/photos", files={"pictures": portrait_bytes}).status_code == 422
    assert anyone.post(f"{person}/photos", json={}).status_code == 415


def test_two_people_become_one(anyone: httpx.Client, person: str, other_portrait: bytes) -> None:
    other = anyone.post("/api/v1/people", json={"name": fresh()}).json()
    anyone.post(f"/api/v1/people/{other['id']}/photos", files={"photos": other_portrait})
    merged = anyone.post(f"{person}/merge", json={"other": other["id"]}).json()
    assert merged["photos"] == 1
    assert [one["id"] for one in merged["merged"]] == [other["id"]]
    assert anyone.get(f"/api/v1/people/{other['id']}").status_code == 404
    assert anyone.post(f"{person}/merge", json={"other": merged["id"]}).status_code == 422
    anyone.delete(person)


def test_pages_of_people_have_everybody_once(anyone: httpx.Client) -> None:
    mark = uuid.uuid4().hex[:6]
    names = [f"{mark} {letter}" for letter in "çaÄbz"]
    for name in names:
        anyone.post("/api/v1/people", json={"name": name})
    seen: list[str] = []
    cursor = None
    while True:
        query: dict[str, str | int] = {"search": mark, "limit": 2}
        query |= {} if cursor is None else {"cursor": cursor}
        page = anyone.get("/api/v1/people", params=query).json()
        seen += [one["name"] for one in page["people"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(names)
    assert anyone.get("/api/v1/people", params={"cursor": "x'; --"}).status_code == 422


@pytest.mark.parametrize("name", ["", " ", "unknown", "a\x00b", "x" * 300, "\u202eevil"])
def test_names_that_cannot_be(anyone: httpx.Client, name: str) -> None:
    assert anyone.post("/api/v1/people", json={"name": name}).status_code == 422


def test_hostile_names_are_only_names(anyone: httpx.Client, open_server: Served) -> None:
    for name in ("Robert'); DROP TABLE people;--", "<script>alert(1)</script>", "%0d%0aSet-Cookie"):
        made = anyone.post("/api/v1/people", json={"name": f"{name} {uuid.uuid4().hex[:4]}"})
        assert made.status_code == 201
        assert "set-cookie" not in made.headers
        found = anyone.get("/api/v1/people", params={"search": name}).json()["people"]
        assert found[0]["id"] == made.json()["id"]


def test_a_request_that_is_sent_again_has_one_effect(anyone: httpx.Client) -> None:
    name, key = fresh(), {"Idempotency-Key": uuid.uuid4().hex}
    first = anyone.post("/api/v1/people", json={"name": name}, headers=key)
    again = anyone.post("/api/v1/people", json={"name": name}, headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert again.headers["location"] == first.headers["location"]
    other = anyone.post("/api/v1/people", json={"name": fresh()}, headers=key)
    assert other.status_code == 422
    # The answer has the name of somebody who may be gone.
    assert anyone.delete(first.headers["location"]).status_code == 204
    late = anyone.post("/api/v1/people", json={"name": name}, headers=key)
    assert (late.status_code, name in late.text) == (409, False)
