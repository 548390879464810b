"""A live source ends within two seconds of the stop, whatever it is doing."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.pipeline.core.config import LiveSettings
from facestream.pipeline.sources import SourceOptions

from tests.media import make_clip
from tests.pipeline.ingest.loopback import STREAM, Connection, Server, watching


def silent(connection: Connection) -> None:
    connection.hold()


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp", "tcp"])
def test_stop_while_it_connects(scheme: str) -> None:
    with Server(silent) as server, watching(server.url(scheme=scheme)) as watched:
        watched.until(lambda: server.clients == 1)
        assert watched.stop() < 2
        assert watched.states == ["connecting", "ended"]


def test_stop_while_it_reads_and_while_the_server_is_silent(clip: bytes) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(clip, seconds=1)
        connection.hold()

    for state in ("live", "stalled"):
        with Server(serve) as server, watching(server.url()) as watched:
            watched.until_state(state)
            assert watched.stop() < 2
            assert watched.states[-1] == "ended"


def test_stop_in_the_pause() -> None:
    with watching("rtsp://127.0.0.1:9/x", live=LiveSettings(retry_first=60)) as watched:
        watched.until_state("retrying")
        assert watched.stop() < 0.5
    assert watched.reader.state.problems == ["rtsp://127.0.0.1: was away when the run ended"]


def test_a_file_over_http_ends_after_so_many_frames(tmp_path: Path) -> None:
    content = make_clip(
        tmp_path / "clip.mp4", frames=60, options={"movflags": "faststart"}
    ).read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        connection.send(content)

    options = SourceOptions(every=4, max_frames=10)
    with Server(serve) as server, watching(server.url("a.mp4"), options=options) as watched:
        watched.thread.join(20)
        watched.until(lambda: len(watched.frames) == 3)
    assert [frame.index for frame in watched.frames] == [0, 4, 8]
    assert watched.states == ["connecting", "live", "ended"]
