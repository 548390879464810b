"""Streams over HTTP: endless ones are cameras, what has an end is a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from facestream.pipeline import Left, Settings

from tests.faces import walking_face
from tests.servers.clips import hls, looped
from tests.servers.proxy import FaultProxy, Faults
from tests.servers.web import WebServer

from .watcher import LiveRun

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def web(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("web")
    looped(walk, folder / "endless.ts", seconds=300)
    looped(walk, folder / "short.mkv", seconds=4)
    hls(folder / "short.mkv", folder)
    pictures = [
        cv2.imencode(".jpg", walking_face(index, (320, 240)))[1].tobytes() for index in range(50)
    ]
    with WebServer(folder, pictures=pictures, fps=10) as server:
        yield server


@pytest.mark.parametrize("path", ["/live/endless.ts", "/mjpeg"])
def test_an_endless_stream_is_a_camera(
    path: str, web: WebServer, people: Path, quick: Settings
) -> None:
    settings = quick.with_values({"tracking.detect_every": 2})
    with FaultProxy(web.port) as proxy:
        cameras = [("door", web.url(path, port=proxy.port))]
        with LiveRun(cameras, settings=settings, gallery=people) as run:
            run.seen.wait_frames("door", more=8)
            told = len(run.seen.states("door"))
            proxy.set(Faults("hole"))
            run.seen.wait_state("door", "retrying", after=told)
            proxy.set()
            run.seen.wait_frames("door", more=8)
            run.stop()
    assert run.stop_seconds < 2.5
    assert {e.name for e in run.seen.events if isinstance(e, Left)} == {"Eileen Collins"}


@pytest.mark.parametrize(
    ("path", "state"), [("/short.mkv", None), ("/index.m3u8", "ended")]
)  # a file has no states
def test_what_has_an_end_is_read_to_it_and_nothing_is_dropped(
    path: str, state: str | None, web: WebServer, quick: Settings
) -> None:
    with LiveRun([("film", web.url(path))], settings=quick) as run:
        report = run.join()
    assert run.seen.count("film") == pytest.approx(100 / 5, abs=1)
    assert report.dropped == {}
    assert run.seen.state("film") == state
    assert run.seen.ended == ["film"]
