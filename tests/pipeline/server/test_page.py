"""The page: every view renders and is escaped, roles, tokens of forms, policies, texts, files."""

from __future__ import annotations

import hashlib
import html
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from facestream.pipeline.access.users import add_user
from facestream.pipeline.server.app import PAGES
from facestream.pipeline.server.page import texts, timeline
from facestream.pipeline.server.page.rendering import STATIC, static_address
from fastapi.routing import APIRoute

from tests.pipeline.server.conftest import PASSWORD, Served, publish

VIEWS = ("/", "/people", "/unknown", "/search", "/live", "/system")
ADMIN_VIEWS = ("/system/audit", "/system/access")
HOSTILE = "<script>alert('x')</script>\"&"
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
RANK = {"viewer": 0, "operator": 1, "admin": 2}
VALUES = {"person_id": "999999", "photo_id": "1", "uid": "none", "cluster": "999999", "name": "x"}


def browser(served: Served, role: str) -> Iterator[httpx.Client]:
    """A browser in which a user of this role is logged in."""
    name = f"{role} {uuid.uuid4().hex[:6]}"
    add_user(served.server.service.sightings, name, PASSWORD, role=role)  # type: ignore[arg-type]
    with served.client() as client:
        client.headers.update(BROWSER)
        done = client.post("/log-in", data={"name": name, "password": PASSWORD, "next": "/people"})
        assert (done.status_code, done.headers["location"]) == (303, "/people")
        yield client


@pytest.fixture(scope="module")
def viewer(keyed_server: Served) -> Iterator[httpx.Client]:
    yield from browser(keyed_server, "viewer")


@pytest.fixture(scope="module")
def operator(keyed_server: Served) -> Iterator[httpx.Client]:
    yield from browser(keyed_server, "operator")


@pytest.fixture(scope="module")
def admin(keyed_server: Served) -> Iterator[httpx.Client]:
    yield from browser(keyed_server, "admin")


def token(client: httpx.Client) -> str:
    found = re.search(r'X-CSRF-Token": "([0-9a-f]+)"', client.get("/").text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_view_renders_with_its_policy(admin: httpx.Client, language: str) -> None:
    for path in (*VIEWS, *ADMIN_VIEWS):
        shown = admin.get(path, headers={"Accept-Language": language})
        assert shown.status_code == 200, (path, shown.text[:500])
        assert f'<html lang="{language}">' in shown.text
        policy = shown.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert shown.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", shown.text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', shown.text), path


def test_without_a_log_in_a_browser_is_sent_to_it(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        client.headers.update(BROWSER)
        for path in (*VIEWS, *ADMIN_VIEWS):
            asked = client.get(path)
            assert asked.status_code == 303
            assert asked.headers["location"] == f"/log-in?next={path}"
        assert client.get("/log-in").status_code == 200
        wrong = client.post("/log-in", data={"name": "ada", "password": "wrong"})
        assert wrong.status_code == 401
        assert 'role="alert"' in wrong.text
        missing = client.get("/people", headers={"HX-Request": "true"})
        assert missing.status_code == 401


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil", "x", "/\n/"])
def test_a_log_in_leads_nowhere_else(keyed_server: Served, next: str) -> None:
    with keyed_server.client() as client:
        form = {"name": "ada", "password": PASSWORD, "next": next}
        done = client.post("/log-in", data=form, headers=BROWSER)
        assert (done.status_code, done.headers["location"]) == (303, "/")


def test_a_log_in_from_another_site_is_refused(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        form = {"name": "ada", "password": PASSWORD}
        asked = client.post("/log-in", data=form, headers={"Sec-Fetch-Site": "cross-site"})
        assert asked.status_code == 403


def test_log_out_ends_the_session(keyed_server: Served) -> None:
    operator = next(made := browser(keyed_server, "operator"))
    done = operator.post("/log-out", headers={"X-CSRF-Token": token(operator)})
    assert done.headers["hx-redirect"] == "/log-in"
    assert operator.get("/").status_code == 303
    made.close()  # type: ignore[attr-defined]


def test_changes_need_the_token(operator: httpx.Client) -> None:
    asked = operator.post("/undo", data={"change": "1"})
    assert asked.status_code == 403
    headers = {"X-CSRF-Token": token(operator)}
    assert operator.post("/undo", data={"change": "1"}, headers=headers).status_code == 409


def test_every_route_of_the_page_refuses_who_may_not(
    viewer: httpx.Client, operator: httpx.Client
) -> None:
    for client, rank in ((viewer, 0), (operator, 1)):
        headers = {"X-CSRF-Token": token(client), "HX-Request": "true"}
        for router in (router for part in PAGES for router in part.routers):
            roles = [getattr(one.dependency, "role", None) for one in router.dependencies]
            role = next(filter(None, roles), None)
            for route in router.routes:
                assert isinstance(route, APIRoute)
                for method in route.methods or ():
                    if role is None or route.path == "/log-out":
                        continue
                    path = route.path.format(**VALUES)
                    asked = client.request(method, path, headers=headers)
                    refused = asked.status_code == 403 and "this needs the role" in asked.text
                    if path.endswith("/forget") and rank < 1:
                        continue  # see below
                    assert refused == (RANK[role] > rank), (method, path, asked.text[:200])
                    assert asked.status_code < 500, (method, path, asked.text)
    assert viewer.get("/people/1/forget").status_code == 403


def test_a_viewer_sees_no_way_to_change_anything(
    keyed_server: Served, viewer: httpx.Client, operator: httpx.Client
) -> None:
    uid = publish(keyed_server, shade=7)
    for path in ("/people", "/unknown", f"/sightings/{uid}"):
        assert "<form hx-post" not in viewer.get(path).text
        assert not re.search(r'hx-post="/(?!log-out)', viewer.get(path).text)
    assert 'hx-post="/people"' in operator.get("/people").text
    assert f'hx-post="/sightings/{uid}/correct"' in operator.get(f"/sightings/{uid}").text
    refused = viewer.get("/system/audit")
    assert refused.status_code == 403
    assert "<main" in refused.text  # a page, for a browser


def test_names_files_and_cameras_are_escaped(
    keyed_server: Served, operator: httpx.Client, portrait_bytes: bytes
) -> None:
    uid = publish(keyed_server, source=HOSTILE, shade=90)
    headers = {"X-CSRF-Token": token(operator), "HX-Request": "true"}
    name = f"{HOSTILE} {uuid.uuid4().hex[:6]}"
    files = [("photos", (f"{HOSTILE}.jpg", b"no picture")), ("photos", (HOSTILE, portrait_bytes))]
    made = operator.post("/people", data={"name": name}, files=files, headers=headers)
    assert made.status_code == 200, made.text
    person = re.search(r"/people/(\d+)", made.text)
    assert person is not None
    renamed = operator.post(
        f"/sightings/{uid}/correct", data={"what": "is", "name": name}, headers=headers
    )
    assert renamed.status_code == 200, renamed.text
    pages = ["/", "/people", f"/people/{person[1]}", f"/sightings/{uid}", "/?person=" + HOSTILE]
    for text in (made.text, renamed.text, *(operator.get(path).text for path in pages)):
        assert "<script>alert" not in text
        assert "alert(" in html.unescape(text)


def test_correct_and_undo(keyed_server: Served, operator: httpx.Client) -> None:
    uid = publish(keyed_server, shade=120)
    headers = {"X-CSRF-Token": token(operator), "HX-Request": "true"}
    name = f"Someone {uuid.uuid4().hex[:6]}"
    form = {"what": "is", "name": name}
    done = operator.post(f"/sightings/{uid}/correct", data=form, headers=headers)
    assert name in done.text
    change = re.search(r'name="change" value="(\d+)"', done.text)
    assert change is not None
    back = operator.post("/undo", data={"change": change[1]}, headers=headers)
    assert back.headers["hx-refresh"] == "true"
    assert name in json.loads(back.headers["hx-trigger"])["done"]["text"]
    assert keyed_server.server.service.sightings.get(uid).person_id is None
    assert operator.post("/undo", data={"change": change[1]}, headers=headers).status_code == 409
    assert (
        operator.post(
            f"/sightings/{uid}/correct", data={"what": "is", "name": " "}, headers=headers
        ).status_code
        == 422
    )


def test_who_may_see_one_camera_sees_no_other(keyed_server: Served) -> None:
    door, hall = publish(keyed_server), publish(keyed_server, source="hall")
    with keyed_server.client("door") as client:
        client.headers.update(BROWSER)
        shown = client.get("/").text
        assert f"/sightings/{door}" in shown
        assert f"/sightings/{hall}" not in shown
        assert client.get(f"/sightings/{hall}").status_code == 404
        assert f"/sightings/{hall}" not in client.get("/?camera=hall").text
        assert client.get("/unknown").status_code == 403


def test_older_sightings_follow_by_cursor(
    keyed_server: Served, viewer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "PAGE_SIZE", 2)
    made = {publish(keyed_server, source="many") for _ in range(3)}
    shown = viewer.get("/", params={"camera": "many"}).text
    first = set(re.findall(r'href="/sightings/(\w+)"', shown))
    more = re.search(r'hx-get="(/\?[^"]+)"', shown)
    assert more is not None
    rest = viewer.get(html.unescape(more[1]), headers={"HX-Request": "true"}).text
    assert "<html" not in rest
    assert first | set(re.findall(r'href="/sightings/(\w+)"', rest)) == made
    assert 'class="day"' not in rest


def test_files_may_be_kept_for_ever(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        for path in STATIC.rglob("*.*"):
            address = static_address(path.relative_to(STATIC).as_posix())
            got = client.get(address)
            assert got.content == path.read_bytes()
            assert "immutable" in got.headers["cache-control"]
            same = client.get(address, headers={"If-None-Match": got.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
        assert client.get("/static/page.css").headers["cache-control"] == "no-cache"
        for name in ("../rendering.py", "%2e%2e/rendering.py", "nothing"):
            assert client.get(f"/static/{name}").status_code in (401, 404)


def test_files_name_no_other_host_and_are_small() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    scripts = 0
    for path in [*STATIC.rglob("*.*"), *(STATIC.parent / "templates").glob("*.html")]:
        text = path.read_text(encoding="utf-8")
        scripts += len(text) if path.suffix == ".js" else 0
        if "vendor" not in path.parts:
            assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) <= allowed, path
    assert scripts <= 200_000


@pytest.mark.parametrize(
    "folder", [STATIC / "vendor", Path(__file__).parent / "axe"], ids=lambda one: one.name
)
def test_vendored_files_are_those_that_were_fetched(folder: Path) -> None:
    listed = json.loads((folder / "vendor.json").read_text(encoding="utf-8"))
    hashes = {name: one["sha256"] for entry in listed for name, one in entry["files"].items()}
    files = {path.name: path for path in folder.iterdir() if path.suffix != ".json"}
    assert set(files) == set(hashes)
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == hashes[name]


def test_every_text_is_translated() -> None:
    pytest.importorskip("babel")
    from tests.translations import catalogue, compiled, in_sources

    wanted = {one.id for one in in_sources() if one.id}
    for language in set(texts.LANGUAGES) - {"en"}:
        found = catalogue(language)
        assert {one.id for one in found if one.id} == wanted, "run 'make translations'"
        for one in found:
            parts = one.string if isinstance(one.string, tuple) else (one.string,)
            assert all(parts), one.id
            assert not one.fuzzy
            assert list(one.check(found)) == []
        stored = Path(texts.LOCALES / f"{language}.mo").read_bytes()
        assert stored == compiled(found), "run 'make translations'"


def test_a_person_is_renamed_merged_set_aside_and_forgotten(
    operator: httpx.Client, other_portrait: bytes
) -> None:
    headers = {"X-CSRF-Token": token(operator), "HX-Request": "true"}
    mark = uuid.uuid4().hex[:6]

    def add(name: str, content: bytes) -> str:
        files = {"photos": ("a.jpg", content)}
        made = operator.post("/people", data={"name": name}, files=files, headers=headers)
        found = re.search(r"/people/(\d+)", made.text)
        assert found is not None, made.text
        return found[1]

    first, second = add(f"First {mark}", other_portrait), add(f"Second {mark}", b"none")
    at = f"/people/{first}"
    for path, form in (("rename", {"name": f"New {mark}"}), ("merge", {"other": f"Second {mark}"})):
        assert operator.post(f"{at}/{path}", data=form, headers=headers).status_code == 200
    assert operator.get(f"/people/{second}").status_code == 404
    assert operator.post(f"{at}/rename", data={"name": ""}, headers=headers).status_code == 422
    again = operator.post(f"{at}/merge", data={"other": f"New {mark}"}, headers=headers)
    assert again.status_code == 422
    shown = operator.get(at).text
    photo = re.search(r"/photos/(\d+)/aside", shown)
    assert photo is not None
    for back in ({}, {"back": "true"}):
        aside = operator.post(f"{at}/photos/{photo[1]}/aside", data=back, headers=headers)
        assert aside.status_code == 200
        assert ('value="true"' in operator.get(at).text) == (not back)
    assert "cannot be undone" in operator.get(f"{at}/forget").text
    wrong = operator.post(f"{at}/forget", data={"name": "x"}, headers=headers)
    assert wrong.status_code == 422
    gone = operator.post(f"{at}/forget", data={"name": f"New {mark}"}, headers=headers)
    assert "It was checked that nothing is left." in gone.text
    assert operator.get(at).status_code == 404


def test_keys_and_users_are_made_and_removed(admin: httpx.Client) -> None:
    headers = {"X-CSRF-Token": token(admin), "HX-Request": "true"}
    name = f"panel {uuid.uuid4().hex[:6]}"
    made = admin.post("/system/keys", data={"name": name}, headers=headers)
    assert re.search(r"<code>[\w-]{40,}</code>", made.text)
    assert admin.post(f"/system/keys/{name}/revoke", headers=headers).status_code == 200
    form = {"name": name, "password": PASSWORD, "role": "viewer"}
    assert admin.post("/system/users", data=form, headers=headers).status_code == 200
    short = admin.post("/system/users", data={**form, "password": "short"}, headers=headers)
    assert short.status_code == 422
    assert name in admin.get("/system/access").text
    assert admin.post(f"/system/users/{name}/remove", headers=headers).status_code == 200
    assert "page.make_user" in admin.get("/system/audit").text
    for part in ("/system/ready", "/system/check"):
        assert admin.get(part, headers=headers).status_code == 200


def test_a_picture_is_searched_and_not_kept(viewer: httpx.Client, portrait_bytes: bytes) -> None:
    headers = {"X-CSRF-Token": token(viewer), "HX-Request": "true"}
    found = viewer.post("/search", files={"image": ("a.jpg", portrait_bytes)}, headers=headers)
    assert found.status_code == 200
    refused = viewer.post("/search", files={"image": ("a.jpg", b"none")}, headers=headers)
    assert refused.json()["reason"] == "unreadable"
