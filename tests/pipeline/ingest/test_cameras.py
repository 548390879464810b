"""From the names of cameras to sources."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import ConfigError, SourceError
from facestream.pipeline.ingest.readers import expand_cameras
from facestream.pipeline.sources import SourceSpec, expand_sources, open_source

from tests.media import make_clip

SECRET = "p@ss/word"
ENVIRONMENT = {"DOOR_PASSWORD": SECRET}
DOOR = {
    "url": "rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream1",
    "sub_url": "rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream2",
}


def settings(**cameras: dict[str, Any]) -> Settings:
    return Settings().with_values({"cameras": cameras})


def spec(source: SourceSpec | str) -> tuple[str, str, str]:
    assert isinstance(source, SourceSpec)
    return (source.kind, source.location, source.name)


def test_a_camera_is_its_url_with_the_secret_and_its_name() -> None:
    known = settings(door=DOOR, sub=DOOR | {"stream": "sub"})
    main, sub = expand_cameras(["door", "sub"], known, ENVIRONMENT)
    assert spec(main) == ("url", "rtsp://admin:p%40ss%2Fword@10.0.0.5/stream1", "door")
    assert spec(sub) == ("url", "rtsp://admin:p%40ss%2Fword@10.0.0.5/stream2", "sub")
    assert "p%40ss" not in repr([main, sub])


def test_devices_by_number_and_path() -> None:
    known = settings(desk={"device": 2}, gate={"device": "/dev/v4l/by-id/usb-cam"})
    found = [spec(source) for source in expand_cameras([], known, {})]
    assert found == [
        ("camera", "/dev/video2", "desk"),
        ("camera", "/dev/v4l/by-id/usb-cam", "gate"),
    ]


def test_a_file_can_stand_in_for_a_camera(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    known = settings(door={"url": f"file://{clip}"})
    assert spec(*expand_cameras(["door"], known, {})) == ("video", str(clip), "door")
    with pytest.raises(ConfigError, match=r"^camera 'door': there is no file file:///nowhere$"):
        expand_cameras(["door"], settings(door={"url": "file:///nowhere"}), {})


def test_without_sources_all_enabled_cameras_are_read() -> None:
    known = settings(a={"device": 0}, b={"device": 1, "enabled": False}, c={"device": 2})
    assert [spec(s)[2] for s in expand_cameras([], known, {})] == ["a", "c"]
    assert [spec(s)[2] for s in expand_cameras(["b", "b"], known, {})] == ["b"]
    assert expand_cameras([], Settings(), {}) == []


def test_other_sources_stay_as_they_are(tmp_path: Path) -> None:
    known = settings(door=DOOR)
    sources = ["clip.mp4", "0", "rtsp://10.0.0.9/x", "*.jpg"]
    assert expand_cameras(sources, known, {}) == sources
    near = tmp_path / "doors"
    near.mkdir()
    assert expand_cameras([str(near)], known, {}) == [str(near)]
    with pytest.raises(SourceError, match="no file 'dor'; did you mean the camera 'door'"):
        expand_cameras(["dor"], known, {})


def test_only_cameras_that_are_read_need_their_secrets() -> None:
    known = settings(door=DOOR, desk={"device": 0})
    assert len(expand_cameras(["desk"], known, {})) == 1
    with pytest.raises(ConfigError) as caught:
        expand_cameras([], known, {})
    assert str(caught.value) == (
        "camera 'door': url: the environment variable DOOR_PASSWORD is not set"
    )


def test_a_plain_url_is_called_without_its_credentials() -> None:
    (source,) = expand_cameras(["rtsp://admin:hunter2@10.0.0.5/x"], Settings(), {})
    assert isinstance(source, str)
    (plain,) = expand_sources([source])
    assert plain.name == "rtsp://10.0.0.5"


def test_a_camera_gets_the_password_as_it_is() -> None:
    """A web server that wants a login, as cameras do; what is sent must be the secret itself."""
    secret = "p@ss/w:ö%#? &="
    logins: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Authorization")
            if login is not None:
                logins.append(base64.b64decode(login.removeprefix("Basic ")).decode())
            self.send_response(401 if login is None else 404)
            self.send_header("WWW-Authenticate", 'Basic realm="door"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://admin:${{P}}@127.0.0.1:{server.server_port}/x.mjpg"
            (source,) = expand_cameras(["door"], settings(door={"url": url}), {"P": secret})
            with pytest.raises(SourceError, match=r"^cannot open door: ") as caught:
                open_source(source)
        finally:
            server.shutdown()
            thread.join()
    assert logins
    assert set(logins) == {f"admin:{secret}"}
    assert secret not in str(caught.value)
