"""URLs, against real servers on loopback."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.ingest.readers import list_sources
from facestream.pipeline.sources import SourceOptions, http_file, open_source, served_file

from tests.media import Picture, Size, make_clip
from tests.pipeline.ingest.loopback import Connection, Server

QUICK = SourceOptions(open_timeout=1.0, read_timeout=1.0)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves the bytes of its server; ``stall`` of them, then nothing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        if self.path.startswith("/private"):
            self.send_error(401)
            return
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        self.send_response(200)
        if server.length_known:
            self.send_header("Content-Length", str(len(server.content)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        content = server.content[: server.stall]
        if server.length_known:
            self.wfile.write(content)
            self.close_connection = True
            return
        self.wfile.write(b"%x\r\n" % len(server.content) + content)
        if server.stall is None:
            self.wfile.write(b"\r\n0\r\n\r\n")
        else:
            server.released.wait(30)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content: bytes, stall: int | None, length_known: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.stall = stall
        self.length_known = length_known
        self.released = threading.Event()


@contextmanager
def serving(
    content: bytes, *, stall: int | None = None, length_known: bool = True
) -> Iterator[str]:
    server = _Server(content, stall, length_known)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://bob:hush@127.0.0.1:{server.server_port}"
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_file_behind_http(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", options={"movflags": "faststart"})
    with serving(path.read_bytes()) as url, open_source(f"{url}/clip.mp4", QUICK) as source:
        frames = list(source)
    assert len(frames) == 20
    assert not source.live
    assert source.info.clock == "opened"
    assert "hush" not in source.name
    assert frames[0].source == source.name


def test_index_at_the_end_behind_a_server_that_cannot_seek(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0)

    def draw(_: int, size: Size) -> Picture:
        return noise.integers(0, 255, (size[1], size[0], 3), np.uint8)

    # Larger than what FFmpeg keeps of the past.
    content = make_clip(tmp_path / "clip.mp4", size=(320, 240), draw=draw).read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")
    with serving(content) as url, open_source(f"{url}/clip.mp4", QUICK) as source:
        assert len(list(source)) == 20
    monkeypatch.setattr(http_file, "LARGEST_TWICE", len(content) - 1)
    with serving(content) as url, pytest.raises(SourceError, match="Range requests") as caught:
        open_source(f"{url}/clip.mp4", QUICK)
    assert caught.value.retry == "slowly"
    assert "hush" not in str(caught.value)


def test_endless_http_stream_is_live(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.ts", frames=40)
    with (
        serving(path.read_bytes(), length_known=False) as url,
        open_source(f"{url}/live.ts", QUICK) as source,
    ):
        assert source.live
        assert len(list(source)) == 40  # that it closes is its end, whatever FFmpeg calls it
        assert source.decoded == 40
        assert source.problems == []


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", {"movflags": "faststart"}), ("a.mp4", FRAGMENTED), ("a.ts", {}), ("a.mkv", {})],
)
def test_what_has_a_length_is_a_file(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    content = make_clip(tmp_path / name, frames=60, options=options).read_bytes()
    with serving(content) as url, open_source(f"{url}/{name}", QUICK) as source:
        assert not source.live
        assert len(list(source)) == 60


@pytest.mark.parametrize(
    ("name", "options", "live"),
    [
        ("a.mp4", {"movflags": "faststart"}, False),  # its index says where it ends
        ("a.mp4", FRAGMENTED, True),
        ("a.ts", {}, True),
    ],
)
def test_without_a_length_the_container_decides(
    tmp_path: Path, name: str, options: dict[str, str], live: bool
) -> None:
    content = make_clip(tmp_path / name, frames=60, options=options).read_bytes()
    with serving(content, length_known=False) as url, open_source(f"{url}/{name}", QUICK) as source:
        assert source.live == live
        assert len(list(source)) == 60


def test_a_length_that_is_never_reached_is_none(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.ts", frames=40).read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Length: 4611686018427387904\r\n\r\n" + content)
        connection.hold()

    with Server(serve) as server, open_source(server.url("live.ts"), QUICK) as source:
        assert source.live


@pytest.mark.parametrize(
    ("path", "length_known", "file"),
    [
        ("clip.mp4", True, True),
        ("clip.mp4?token=hush", True, True),
        ("clip.mp4", False, False),  # a recorder's live stream
        ("live.ts", True, False),
        ("live", True, False),
        ("private/clip.mp4", True, False),
        ("gone/clip.mp4", True, False),
    ],
)
def test_a_served_file_is_known_before_it_is_opened(
    path: str, length_known: bool, file: bool
) -> None:
    with serving(b"content", length_known=length_known) as url:
        assert served_file(f"{url}/{path}") == file
        (spec,) = list_sources([f"{url}/{path}"], Settings()).specs
        assert (spec.live, spec.recorded) == (not file, file)
        assert "hush" not in spec.name


def test_a_served_file_gets_the_login_of_its_url_when_it_asks() -> None:
    logins: list[str | None] = []

    class Private(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            logins.append(self.headers["Authorization"])
            if logins[-1] is None:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", "bytes 0-0/7000")
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Private) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        assert served_file(f"http://bob:p%2Fq@127.0.0.1:{server.server_port}/a.mp4")
        server.shutdown()
        thread.join()
    assert logins == [None, "Basic Ym9iOnAvcQ=="]


def test_nobody_there_is_no_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not served_file(f"http://127.0.0.1:{port}/a.mp4")
    assert not served_file("http://[::1/a.mp4")
    assert not served_file("rtsp://127.0.0.1/a.mp4")


def test_stalled_stream_times_out(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.ts", frames=200, size=(320, 240)).read_bytes()
    with (
        serving(content, stall=len(content) * 3 // 4, length_known=False) as url,
        open_source(f"{url}/live.ts", QUICK) as source,
        pytest.raises(SourceError, match=r"broke off after \d+ frames: no data for 1 s") as caught,
    ):
        for _ in source:
            pass
    assert source.decoded > 50  # what came before is delivered
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("private/a.mp4", "user or password refused"),
        ("gone/a.mp4", "404"),
        ("text.mp4", "invalid data"),
    ],
)
def test_refusals(page: str, message: str) -> None:
    with serving(b"no video\n" * 500) as url, pytest.raises(SourceError, match=message) as caught:
        open_source(f"{url}/{page}", QUICK)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("rtsp", "http"):
            with pytest.raises(SourceError, match="no answer within 1 s"):
                open_source(f"{scheme}://bob:hush@127.0.0.1:{port}/x", QUICK)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceError, match="connection refused") as caught:
        open_source(f"rtsp://bob:hush@127.0.0.1:{port}/x", QUICK)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["gopherx", "concat", "subfile", "data", "sftp", "unix"])
def test_kinds_of_urls_that_are_not_read(scheme: str) -> None:
    message = f"cannot open {scheme}://host: there is no kind of URL '{scheme}' here; use http, "
    with pytest.raises(SourceError, match=message) as caught:
        open_source(f"{scheme}://host/x", QUICK)
    assert caught.value.retry == "never"
