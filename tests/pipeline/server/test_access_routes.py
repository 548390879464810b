"""Who may do what: roles, keys, sessions, other sites, Host headers, the audit log."""

from __future__ import annotations

import shutil
import ssl
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from facestream.pipeline.access.audit_log import read_audit, verify_audit
from facestream.pipeline.access.keys import add_key
from facestream.pipeline.access.users import add_user
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.server.app import PARTS, create_routes
from facestream.pipeline.server.dependencies import name_in_log
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sightings import Sightings
from fastapi.routing import APIRoute

from tests.pipeline.server.conftest import FREE, PASSWORD, Served, publish, settings_for
from tests.servers.recorder import make_certificates

RANK = {"viewer": 0, "operator": 1, "admin": 2}
PUBLIC = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/api/v1/session")}
VALUES = {
    "cluster_id": "999999",
    "receipt_id": "none",
    "person_id": "999999",
    "photo_id": "1",
    "sighting_id": "none",
    "kind": "face",
    "what": "sightings",
    "name": "nobody",
    "job_id": "0" * 16,
}


def routes() -> Iterator[tuple[str, str, str | None]]:
    """Method, path and role of every route; the role is its router's."""
    for router in (router for part in PARTS for router in part.routers):
        roles = [getattr(one.dependency, "role", None) for one in router.dependencies]
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                yield method, route.path, next(filter(None, roles), None)


ROUTES = sorted(routes(), key=str)


@pytest.fixture
def session(keyed_server: Served) -> Iterator[tuple[httpx.Client, str]]:
    """A browser that ada logged in with, and its CSRF token."""
    with keyed_server.client() as client:
        done = client.post("/api/v1/session", json={"name": "Ada", "password": PASSWORD})
        assert done.status_code == 200
        yield client, done.json()["csrf"]


def test_every_route_has_a_role() -> None:
    documented = create_routes().openapi()["paths"]
    asked = {(m.upper(), path) for path, methods in documented.items() for m in methods}
    assert {(method, path) for method, path, _ in ROUTES} == asked
    assert {(method, path) for method, path, role in ROUTES if role is None} == PUBLIC


@pytest.mark.parametrize("who", ["nobody", "viewer", "operator", "admin"])
def test_every_route_refuses_who_may_not(keyed_server: Served, who: str) -> None:
    with keyed_server.client(None if who == "nobody" else who) as client:
        for method, path, role in ROUTES:
            if path.endswith(("/session", "/events", "/readyz")):
                continue
            asked = client.request(method, path.format(**VALUES))
            may = role is None or (who != "nobody" and RANK[who] >= RANK[role])
            refused = 401 if who == "nobody" else 403
            assert (asked.status_code != refused) == may, (method, path, asked.text)
            assert asked.status_code < 500, (method, path, asked.text)
        assert client.request("GET", "/api/v1/nothing").status_code == (
            401 if who == "nobody" else 404
        )


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Bearer fs_" + "x" * 43, "Basic YTpi"])
def test_forged_keys(keyed_server: Served, header: str) -> None:
    with httpx.Client(base_url=keyed_server.url, headers={"Authorization": header}) as client:
        asked = client.get("/api/v1/people")
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"] == "Bearer"


def test_a_key_is_refused_in_a_query(keyed_server: Served) -> None:
    with keyed_server.client() as client:
        key = keyed_server.keys["admin"]
        for name in ("token", "key", "access_token"):
            assert client.get("/api/v1/people", params={name: key}).status_code == 401


def test_keys_expire_and_are_revoked(keyed_server: Served) -> None:
    store, name = keyed_server.server.service.sightings, uuid.uuid4().hex
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, expired = add_key(store, f"{name} old", role="admin", expires_at=past)
    with keyed_server.client("admin") as admin:
        made = admin.post("/api/v1/keys", json={"name": name, "role": "viewer"}).json()
        assert made["about"]["prefix"] == made["key"][:8]
        assert made["key"] not in admin.get("/api/v1/keys").text
        headers = {"Authorization": f"Bearer {made['key']}"}
        with httpx.Client(base_url=keyed_server.url, headers=headers) as client:
            assert client.get("/api/v1/people").status_code == 200
            assert admin.delete(f"/api/v1/keys/{name}").status_code == 200
            assert client.get("/api/v1/people").status_code == 401
            client.headers["Authorization"] = f"Bearer {expired}"
            assert client.get("/api/v1/people").status_code == 401
        assert made["key"].encode() not in Path(store.path).read_bytes()


def test_a_key_for_one_camera_sees_no_other(keyed_server: Served) -> None:
    door, hall = publish(keyed_server), publish(keyed_server, source="hall", shade=9)
    with keyed_server.client("door") as scoped, keyed_server.client("viewer") as client:
        assert {one["camera"] for one in scoped.get("/api/v1/sightings").json()["sightings"]} == {
            "door"
        }
        assert scoped.get("/api/v1/sightings", params={"camera": "hall"}).json()["sightings"] == []
        assert scoped.get(f"/api/v1/sightings/{door}").status_code == 200
        for path in ("", "/why", "/pictures/frame"):
            assert scoped.get(f"/api/v1/sightings/{hall}{path}").status_code == 404
            assert client.get(f"/api/v1/sightings/{hall}{path}").status_code == 200
        assert scoped.get("/api/v1/cameras/hall").status_code == 404


def test_a_log_in_needs_the_csrf_token_and_the_same_site(
    session: tuple[httpx.Client, str], keyed_server: Served
) -> None:
    client, csrf = session
    made = {"json": {"name": uuid.uuid4().hex}}
    site = {"Sec-Fetch-Site": "same-origin"}
    assert client.get("/api/v1/people").status_code == 200
    for headers in (
        {},
        site,
        {"X-CSRF-Token": csrf},
        {**site, "X-CSRF-Token": "0" * 64},
        {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": csrf},
        {"Origin": "http://evil.example", "X-CSRF-Token": csrf},
        {"Origin": "null", "X-CSRF-Token": csrf},
    ):
        assert client.post("/api/v1/people", headers=headers, **made).status_code == 403  # type: ignore[arg-type]
    for headers in (site, {"Origin": keyed_server.url}):
        good = {**headers, "X-CSRF-Token": csrf}
        body = {"name": uuid.uuid4().hex}
        assert client.post("/api/v1/people", headers=good, json=body).status_code == 201
    assert client.get("/api/v1/people", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_sessions_are_new_at_each_log_in_and_end(
    session: tuple[httpx.Client, str], keyed_server: Served
) -> None:
    client, _ = session
    old = client.cookies["facestream"]
    again = client.post("/api/v1/session", json={"name": "ada", "password": PASSWORD})
    cookie = again.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.cookies["facestream"] != old
    with keyed_server.client() as thief:
        thief.cookies.set("facestream", old)
        assert thief.get("/api/v1/session").status_code == 401
        thief.cookies.set("facestream", "chosen-by-somebody-else")  # fixation
        assert thief.get("/api/v1/session").status_code == 401
    new = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": again.json()["csrf"]}
    kept = client.cookies["facestream"]
    assert client.delete("/api/v1/session", headers=new).status_code == 204
    client.cookies.set("facestream", kept)
    assert client.get("/api/v1/session").status_code == 401


def test_wrong_passwords_are_slowed_down(tmp_path: Path, keyed_server: Served) -> None:
    service = keyed_server.server.service
    limit = service.failures._most
    service.failures._most = 3.0
    try:
        with keyed_server.client() as client:
            wrong = {"name": uuid.uuid4().hex, "password": "wrong password"}
            codes = [client.post("/api/v1/session", json=wrong).status_code for _ in range(5)]
            assert codes == [401, 401, 401, 429, 429]
            client.headers["Authorization"] = f"Bearer {keyed_server.keys['admin']}"
            assert client.get("/api/v1/people").status_code == 429
    finally:
        service.failures._most = limit
        service.failures._buckets.clear()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "10.1.2.3"},
        {"Host": "127.0.0.1.evil.example"},
        {"X-Forwarded-For": "8.8.8.8"},
        {"Forwarded": "for=8.8.8.8"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example"},
    ],
)
def test_without_a_key_only_this_machine_is_answered(
    anyone: httpx.Client, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        asked = anyone.request(method, "/api/v1/people", json={"name": "X"}, headers=headers)
        assert asked.status_code in (400, 403)
        assert asked.headers["content-type"] == "application/problem+json"
    assert anyone.get("/api/v1/people", headers={"Host": "localhost:1"}).status_code == 200


def test_others_can_connect_only_where_there_is_a_key(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "house.db")
    with pytest.raises(UsageError, match="facestream serve key add NAME"):
        ServiceServer(settings, Address("0.0.0.0", 0))


def test_the_first_key_ends_access_without(tmp_path: Path) -> None:
    with (
        ServiceServer(settings_for(tmp_path / "house.db"), FREE) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        assert client.get("/api/v1/people").status_code == 200
        key = client.post("/api/v1/keys", json={"name": "a", "role": "admin"}).json()["key"]
        assert client.get("/api/v1/people").status_code == 401
        client.headers["Authorization"] = f"Bearer {key}"
        # A key that is revoked opens nothing again.
        assert client.delete("/api/v1/keys/a").status_code == 200
        assert client.get("/api/v1/people").status_code == 401
        del client.headers["Authorization"]
        assert client.get("/api/v1/people").status_code == 401


def test_answers_carry_the_headers_that_browsers_heed(anyone: httpx.Client) -> None:
    for path in ("/healthz", "/api/v1/people", "/nothing"):
        headers = anyone.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not any(name.startswith("access-control") for name in headers)
        assert "server" not in headers


def test_look_ups_and_changes_are_in_the_audit_log(keyed_server: Served) -> None:
    name = f"Ada {uuid.uuid4().hex[:6]}"
    with keyed_server.client("admin") as admin:
        reason = {"Facestream-Reason": "a visitor asked\r\n injected".replace("\r\n", " ")}
        made = admin.post("/api/v1/people", json={"name": name}, headers=reason).json()
        refused = admin.post("/api/v1/people", json={"name": name})
        assert refused.status_code == 409
        admin.get(f"/api/v1/people/{made['id']}")
        with keyed_server.client("viewer") as viewer:
            viewer.delete(f"/api/v1/people/{made['id']}")
        entries = admin.get("/api/v1/audit", params={"limit": 5}).json()["entries"]
        told = [(one["actor"], one["action"]) for one in reversed(entries)]
        told = [one for one in told if one[1] != "audit.list_audit"]  # may be there already
        assert told[-2:] == [("key:admin", "people.get_person"), ("key:viewer", "refused")]
        created = [one for one in entries if one["action"] == "people.create"]
        assert [(one["target"], one["reason"]) for one in created] == [
            (f"person {name_in_log(name)}", "a visitor asked  injected")
        ]
        admin.get("/api/v1/sightings", params={"name": name, "limit": 3})
        entries = admin.get("/api/v1/audit", params={"limit": 5}).json()["entries"]
        asked = [one["target"] for one in entries if one["action"] == "sightings.list_sightings"]
        assert f"name={name_in_log(name)}&limit=3" in asked[0]
        assert name not in admin.get("/api/v1/audit/export").text
        assert admin.get("/api/v1/audit/verify").json()["problem"] is None
        lines = admin.get("/api/v1/audit/export").text.splitlines()
        assert len(lines) >= len(entries)
        assert keyed_server.keys["admin"] not in "".join(lines)
    assert verify_audit(keyed_server.server.service.sightings).problem == ""


def test_tls_and_the_headers_of_a_proxy(tmp_path: Path) -> None:
    """Behind TLS the cookie is secure; what a proxy says counts where it is named."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    made = make_certificates(tmp_path)
    database = tmp_path / "house.db"
    with Sightings(database, create="if_missing") as store:
        add_user(store, "ada", PASSWORD, role="viewer")
    settings = settings_for(database, **{"server.proxies": ("127.0.0.1",)})
    trusted = ssl.create_default_context(cafile=made.ca)
    account = {"name": "ada", "password": PASSWORD}
    with (
        ServiceServer(settings, FREE, tls=(made.good, made.good)) as server,
        httpx.Client(base_url=server.url, timeout=60, verify=trusted) as client,
    ):
        assert server.url.startswith("https://")
        proxied = client.post(
            "/api/v1/session", json=account, headers={"X-Forwarded-For": "192.0.2.7"}
        )
        cookie = proxied.headers["set-cookie"]
        assert cookie.startswith("__Host-facestream=")
        assert "Secure" in cookie
        assert "strict-transport-security" in proxied.headers
        assert client.get("/api/v1/session").json()["name"] == "user:ada"
        entries = list(read_audit(server.service.sightings))
        assert entries[0].address == "192.0.2.7"
