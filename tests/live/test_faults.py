"""What happens to cameras, and that it is survived: real servers, real faults."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import Left, Settings
from facestream.pipeline.core.events import SourceStateEvent, parse_event
from facestream.pipeline.sinks.jsonl import JsonlSink

from tests.faces import face_clip, portrait
from tests.media import Picture, Size, make_clip
from tests.servers.clips import changing_size, looped
from tests.servers.proxy import FaultProxy, Faults, Mode
from tests.servers.rtsp import RtspServer

from .watcher import LiveRun

pytestmark = pytest.mark.live

RECOVERY = 5.0
"""Seconds from the return of a server to the next result, with the back-off capped at one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to lose a camera, and the end of it."""

    begin: Callable[[RtspServer, FaultProxy], None]
    end: Callable[[RtspServer, FaultProxy], None]


def _mode(mode: Mode) -> Fault:
    return Fault(lambda _, proxy: proxy.set(Faults(mode)), lambda _, proxy: proxy.set())


FAULTS = {
    "killed": Fault(lambda server, _: server.kill(), lambda server, _: server.start()),
    "refused": _mode("refuse"),
    "black hole": _mode("hole"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_camera_that_is_lost_comes_back_and_the_others_go_on(
    name: str, steady: RtspServer, endless: Path, quick: Settings, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    events = JsonlSink(tmp_path / "events.jsonl")
    with RtspServer({"/walk": endless}) as server, FaultProxy(server.port) as proxy:
        cameras = [("door", server.url("/walk", port=proxy.port)), ("hall", steady.url("/walk"))]
        with LiveRun(cameras, settings=quick, sinks=[events]) as run:
            run.seen.wait_frames("door")
            run.seen.wait_frames("hall")
            told = len(run.seen.states("door"))
            fault.begin(server, proxy)
            run.seen.wait_state("door", "stalled", "retrying", after=told)
            run.seen.wait_state("door", "retrying", after=told)
            run.seen.wait_frames("hall", more=5)
            before = (tmp_path / "events.jsonl").read_bytes()
            back = time.monotonic()
            fault.end(server, proxy)
            assert run.seen.wait_frames("door") - back < RECOVERY
            assert run.seen.state("door") == "live"
            assert run.seen.states("door")[-1].restarts >= 1
            assert {event.state for event in run.seen.states("hall")} == {"connecting", "live"}
    after = (tmp_path / "events.jsonl").read_bytes()
    assert after.startswith(before)
    told_events = [parse_event(line) for line in after.splitlines()]
    assert [e.state for e in told_events if isinstance(e, SourceStateEvent)].count("ended") == 2


def test_a_connection_cut_in_the_middle_of_a_frame_is_made_again(
    endless: Path, quick: Settings
) -> None:
    with RtspServer({"/walk": endless}) as server, FaultProxy(server.port) as proxy:
        url = server.url("/walk", port=proxy.port)
        with LiveRun([("door", url)], settings=quick) as run:
            for _ in range(2):
                run.seen.wait_frames("door")
                told = len(run.seen.states("door"))
                cut = time.monotonic()
                proxy.cut()
                run.seen.wait_state("door", "retrying", after=told)
                run.seen.wait_state("door", "live", after=told)
                assert run.seen.wait_frames("door", more=1) - cut < RECOVERY
        assert run.seen.states("door")[-1].restarts == 2


def test_flipped_bits_are_lived_with(endless: Path, quick: Settings) -> None:
    with RtspServer({"/walk": endless}) as server, FaultProxy(server.port) as proxy:
        url = server.url("/walk", port=proxy.port)
        with LiveRun([("door", url)], settings=quick) as run:
            run.seen.wait_frames("door")
            proxy.set(Faults(flips=2e-4))
            run.seen.wait_frames("door", more=8)
            # Blindly: also in lengths and headers, so that the conversation itself breaks.
            proxy.set(Faults(flips=2e-4, where="blind"))
            run.seen.wait_frames("door", more=6)
            clean = time.monotonic()
            proxy.set()
            assert run.seen.wait_frames("door", more=3) - clean < 2 * RECOVERY


def test_a_server_that_says_nothing_is_tried_again(
    steady: RtspServer, endless: Path, quick: Settings
) -> None:
    settings = quick.with_values({"live.open_timeout": 1.0})
    with RtspServer({"/walk": endless}) as server, FaultProxy(server.port) as proxy:
        proxy.set(Faults("silent"))
        cameras = [("door", server.url("/walk", port=proxy.port)), ("hall", steady.url("/walk"))]
        with LiveRun(cameras, settings=settings) as run:
            run.seen.wait_frames("hall")
            run.seen.wait(lambda: proxy.connections >= 2, "a second try")
            assert run.seen.count("door") == 0
            run.stop()
        assert run.stop_seconds < 2.5
        assert any("1 s" in (event.reason or "") for event in run.seen.states("door"))


def test_another_size_in_mid_stream_is_followed(
    endless: Path, quick: Settings, tmp_path: Path
) -> None:
    parts = [
        face_clip(tmp_path / "small.mp4", frames=50, size=(320, 240)),
        face_clip(tmp_path / "large.mp4", frames=100, size=(480, 360)),
    ]
    clip = changing_size(tmp_path / "both.ts", parts)
    with (
        RtspServer({"/both": clip}) as server,
        LiveRun([("door", server.url("/both"))], settings=quick) as run,
    ):
        run.seen.wait(lambda: len(run.seen.sizes("door")) == 2, "both sizes")
        restarts = run.seen.states("door")[-1].restarts
    assert run.seen.sizes("door") == {(320, 240), (480, 360)}
    assert restarts == 0


def test_a_name_that_nobody_knows_and_a_refused_password_are_retried_without_telling_it(
    steady: RtspServer,
    endless: Path,
    quick: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = JsonlSink(tmp_path / "events.jsonl")
    with RtspServer({"/walk": endless}, user="joe", password="right") as server:
        cameras = [
            ("nowhere", "rtsp://joe:s3cret@camera.invalid/main"),
            ("refused", server.url("/walk", login="joe:s3cret")),
            ("let in", server.url("/walk", login="joe:right")),
            ("hall", steady.url("/walk")),
        ]
        with caplog.at_level("DEBUG"), LiveRun(cameras, settings=quick, sinks=[events]) as run:
            for name in ("hall", "let in"):
                run.seen.wait_frames(name)
            for name in ("nowhere", "refused"):
                run.seen.wait_state(name, "retrying")
            run.seen.wait_frames("hall")
    reasons = {
        name: " ".join(event.reason or "" for event in run.seen.states(name))
        for name in ("nowhere", "refused")
    }
    assert "password" in reasons["refused"]
    written = (tmp_path / "events.jsonl").read_text()
    for text in (written, caplog.text, str(reasons), str(run.report), repr(run.pipeline)):
        assert "s3cret" not in text
        assert "joe" not in text


def test_a_frozen_camera_counts_as_stalled(quick: Settings, tmp_path: Path) -> None:
    def still(index: int, size: Size) -> Picture:
        return np.asarray(cv2.resize(portrait(), size), np.uint8)

    clip = make_clip(tmp_path / "frozen.mp4", frames=50, size=(320, 240), fps=25, draw=still)
    long = looped(clip, tmp_path / "frozen.mkv", seconds=120)
    settings = quick.with_values({"live.frozen_after": 1.5})
    with (
        RtspServer({"/frozen": long}) as server,
        LiveRun([("door", server.url("/frozen"))], settings=settings) as run,
    ):
        run.seen.wait_state("door", "stalled")
        # Frames go on coming: it is the picture that stands still.
        run.seen.wait_frames("door")
    (stalled, *_) = [e for e in run.seen.states("door") if e.state == "stalled"]
    assert stalled.reason


def test_eight_cameras_one_of_them_always_dead(
    steady: RtspServer, people: Path, quick: Settings
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"rtsp://127.0.0.1:{nobody.getsockname()[1]}/none"
        alive = [f"camera {number}" for number in range(7)]
        cameras = [(name, steady.url("/walk")) for name in alive]
        with LiveRun([*cameras, ("dead", dead)], settings=quick, gallery=people) as run:
            run.seen.wait(lambda: min(map(run.seen.count, alive)) >= 10, "ten frames of each")
            run.seen.wait_state("dead", "retrying")
            report = run.stop()
    assert run.seen.count("dead") == 0
    named = {e.source for e in run.seen.events if isinstance(e, Left) and e.known}
    assert named == set(alive)
    assert {s.name for s in report.sources if s.frames} == set(alive)


@pytest.mark.parametrize(
    "times", [2, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
def test_a_server_that_is_killed_again_and_again(
    times: int, steady: RtspServer, endless: Path, quick: Settings, tmp_path: Path
) -> None:
    events = JsonlSink(tmp_path / "events.jsonl")
    with RtspServer({"/walk": endless}) as server:
        cameras = [("door", server.url("/walk")), ("hall", steady.url("/walk"))]
        with LiveRun(cameras, settings=quick, sinks=[events]) as run:
            for _ in range(times):
                run.seen.wait_frames("door")
                told = len(run.seen.states("door"))
                server.kill()
                run.seen.wait_state("door", "retrying", after=told)
                back = time.monotonic()
                server.start()
                run.seen.wait_state("door", "live", after=told)  # not a frame of before
                assert run.seen.wait_frames("door", more=1) - back < RECOVERY
            run.seen.wait_frames("hall")
            run.stop()
    assert run.stop_seconds < 2.5
    assert run.seen.states("door")[-1].restarts >= times
    for line in (tmp_path / "events.jsonl").read_text().splitlines():
        parse_event(line)
