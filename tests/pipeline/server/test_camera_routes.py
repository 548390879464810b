"""Cameras that are added, changed, tried and removed over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.networks import AddressRules
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sources import SourceOptions, SourceSpec, open_source

from tests.pipeline.server.conftest import FREE, PORTRAITS, Served, settings_for
from tests.waiting import wait_until

SECRET = "tr0ub4dor"


class _Camera(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.2:{self.server.server_port}/x.jpg")  # type: ignore[attr-defined]
            self.end_headers()
            return
        data = (PORTRAITS / "astronaut.jpg").read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def camera() -> Iterator[tuple[str, list[str]]]:
    """A camera that sends one picture, at 127.0.0.1; and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Camera", (_Camera,), {"asked": asked})
    with ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:{SECRET}@127.0.0.1:{server.server_port}", asked
        server.shutdown()


def settings_of(folder: Path) -> Any:
    networks = ["127.0.0.1", "10.0.0.0/8"]
    return settings_for(folder / "house.db", **{"server.camera_networks": networks})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with ServiceServer(settings_of(tmp_path_factory.mktemp("cameras")), FREE) as server:
        yield Served(server)


@pytest.fixture
def client(house: Served) -> Iterator[httpx.Client]:
    with house.client() as client:
        yield client


def test_a_camera_is_added_changed_kept_and_removed(
    tmp_path: Path, camera: tuple[str, list[str]]
) -> None:
    area = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
    with ServiceServer(settings_of(tmp_path), FREE) as server, Served(server).client() as client:
        body = {"name": "front door", "url": f"{camera[0]}/snap.jpg?token={SECRET}"}
        made = client.post("/api/v1/cameras", json=body)
        assert made.status_code == 201, made.text
        where = made.headers["location"]
        assert client.post("/api/v1/cameras", json=body).status_code == 409
        assert client.post("/api/v1/cameras", json={**body, "name": "Front Door"}).is_error
        wait_until(lambda: client.get(f"{where}/snapshot").status_code == 200)
        changed = client.patch(where, json={"watch": [area], "threshold": 0.5, "enabled": False})
        assert changed.json()["running"] is False
        shown = client.get(f"{where}/settings").json()
        assert shown["watch"] == [area]
        assert shown["recognition"] == {"threshold": 0.5}
        assert SECRET not in json.dumps(shown) + made.text + client.get("/api/v1/settings").text
        assert client.patch(where, json={"mask": [[[0, 0], [0, 0], [0, 0]]]}).status_code == 422
        assert client.patch(where, json={"schedule": ["never"]}).status_code == 422
        assert client.patch(where, json={"url": None}).status_code == 422
        assert SECRET not in client.get("/api/v1/audit").text
    with ServiceServer(settings_of(tmp_path), FREE) as server, Served(server).client() as client:
        kept = client.get(where).json()
        assert (kept["running"], kept["changeable"], kept["name"]) == (False, True, "front door")
        assert client.delete(where).status_code == 204
        assert client.get(where).status_code == 404
        assert client.delete(where).status_code == 404
        assert client.get("/api/v1/cameras").json()["cameras"] == []


def test_a_url_is_tried(client: httpx.Client, camera: tuple[str, list[str]]) -> None:
    tried = client.post("/api/v1/cameras/test", json={"url": f"{camera[0]}/snap.jpg"})
    assert tried.status_code == 200, tried.text
    assert tried.content.startswith(b"\xff\xd8")
    assert client.get("/api/v1/cameras").json()["cameras"] == []
    refused = client.post("/api/v1/cameras/test", json={"url": f"{camera[0]}/moved"})
    assert (refused.status_code, refused.json()["reason"]) == (422, "no_picture")
    assert SECRET not in refused.text
    nothing = client.post("/api/v1/cameras/test", json={"url": "rtsp://127.0.0.1:1/x"})
    assert nothing.json()["reason"] == "no_picture"


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "/etc/passwd", "concat:/etc/passwd", "udp://10.0.0.5:1", "rtsp://"),
        *("http://127.0.0.2/", "http://2130706434/", "http://0x7f000002/", "http://0/"),
        *("http://[::1]/", "http://[::ffff:127.0.0.2]/", "http://169.254.169.254/latest"),
        *(
            "http://192.168.1.1/",
            "http://8.8.8.8/",
            "http://me@[fe80::1]/",
            "http://nowhere.invalid/",
        ),
        *("rtsp://${HOME}@10.0.0.5/", "rtsp://10.0.0.5/${file:/etc/passwd}", "http://10.0.0.5 /"),
        "http://10.0.0.5@127.0.0.2/",
    ],
)
def test_urls_that_are_refused(client: httpx.Client, url: str) -> None:
    for path, body in (("cameras", {"name": "x", "url": url}), ("cameras/test", {"url": url})):
        asked = client.post(f"/api/v1/{path}", json=body)
        assert asked.status_code == 422, asked.text
        assert "passwd" not in asked.json()["detail"]
    assert client.get("/api/v1/cameras").json()["cameras"] == []


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_the_address_is_checked_at_the_connection(
    camera: tuple[str, list[str]], scheme: str
) -> None:
    base, asked = camera
    url = f"{scheme}://localhost:{base.rpartition(':')[2]}/rebound"
    options = SourceOptions(networks=AddressRules(("10.0.0.0/8",)))
    with pytest.raises(SourceError, match=r"live\.networks does not allow"):
        open_source(SourceSpec("url", url, "door"), options)
    assert "/rebound" not in asked


def test_cameras_of_the_file_are_not_changed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path).with_values(
        {"cameras": {"hall": {"url": "rtsp://10.0.0.5/x", "enabled": False}}}
    )
    with ServiceServer(settings, FREE) as server, Served(server).client() as client:
        assert not client.get("/api/v1/cameras/hall").json()["changeable"]
        assert client.patch("/api/v1/cameras/hall", json={"enabled": True}).status_code == 409
        assert client.delete("/api/v1/cameras/hall").status_code == 409


def test_settings_are_changed_and_kept(tmp_path: Path, portrait_bytes: bytes) -> None:
    with ServiceServer(settings_of(tmp_path), FREE) as server, Served(server).client() as client:
        person = client.post("/api/v1/people", json={"name": "Ada"}).headers["location"]
        client.post(f"{person}/photos", files={"photos": portrait_bytes})

        def verdict() -> str:
            asked = client.post("/api/v1/recognise", files={"image": portrait_bytes})
            return str(asked.json()["faces"][0]["name"])

        assert verdict() == "Ada"
        values = {"recognition.max_sigma": 0.0001, "storage.retention.unsure": "30d"}
        changed = client.patch("/api/v1/settings", json={"values": values})
        assert changed.status_code == 200, changed.text
        assert changed.json()["recognition"]["max_sigma"] == 0.0001
        assert verdict() == "unknown"
        assert client.get("/api/v1/retention").json()["limits"]["unsure"] == 30 * 86400
        for bad in (
            {"server.camera_networks": ["127.0.0.0/8"]},
            {"live.tls_ca": "/etc/passwd"},
            {"storage.database": "/tmp/x.db"},
            {"recognition.margin": "much"},
            {"nothing": 1},
        ):
            assert client.patch("/api/v1/settings", json={"values": bad}).status_code == 422
    with ServiceServer(settings_of(tmp_path), FREE) as server, Served(server).client() as client:
        kept = client.get("/api/v1/settings/changeable").json()
        assert kept["changed"] == values
        assert set(values) < set(kept["keys"])
        back = client.patch("/api/v1/settings", json={"values": dict.fromkeys(values)}).json()
        assert back["storage"]["retention"]["unsure"] is None
        assert client.get("/api/v1/settings/changeable").json()["changed"] == {}
