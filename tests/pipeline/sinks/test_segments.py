"""Annotated video of live sources, and a slow sink that must not hold events back."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.core.events import Event, SourceStateEvent, State
from facestream.pipeline.core.types import FrameResult, Image
from facestream.pipeline.metrics.families import OUTPUT_DROPPED, OUTPUT_SCALED
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.sinks.background import BackgroundSink
from facestream.pipeline.sinks.base import Sink
from facestream.pipeline.sinks.video.segments import SegmentsSink

from tests.pipeline.tracks import picture, read_video, result, sighting, track
from tests.waiting import wait_until


def frame(seconds: float, *, image: Image | None = None, source: str = "door") -> FrameResult:
    """A live frame that arrived so long after the start of the test's clock."""
    done = result(picture() if image is None else image, track(), source=source, pts=seconds)
    return replace(done, frame=replace(done.frame, captured_at=100 + seconds))


def state(name: State, *, source: str = "door") -> SourceStateEvent:
    return SourceStateEvent(source=source, utc=datetime.fromtimestamp(1e9, UTC), state=name)


def frames_in(path: Path) -> int:
    return len(read_video(path)[0])


def test_a_new_segment_every_few_minutes_named_by_its_first_frame(tmp_path: Path) -> None:
    with SegmentsSink(tmp_path / "out.mp4", minutes=0.1) as sink:
        for number in range(20):
            sink.write(frame(number))
        paths = sink.paths
    assert [path.name for path in paths] == [
        "out-door-2001-09-09T01-46-40.mp4",
        "out-door-2001-09-09T01-46-46.mp4",
        "out-door-2001-09-09T01-46-52.mp4",
        "out-door-2001-09-09T01-46-58.mp4",
    ]
    assert [frames_in(path) for path in paths] == [6, 6, 6, 2]
    for path in paths:
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def sizes(paths: list[Path]) -> list[tuple[int, int, int]]:
    """Frames, height and width of videos."""
    videos = [read_video(path)[0] for path in paths]
    return [(len(video), *video[0].shape[:2]) for video in videos]


def test_another_size_begins_a_segment_once_it_stays_and_the_last_one_is_old(
    tmp_path: Path,
) -> None:
    with SegmentsSink(tmp_path / "out.mp4") as sink:
        for number in range(12):
            sink.write(frame(number))
        for number in range(12, 16):
            sink.write(frame(number, image=picture(128, 96)))
        paths = sink.paths
    assert sizes(paths) == [(14, 48, 64), (2, 96, 128)]


def test_a_source_that_changes_its_size_all_the_time_has_one_segment(tmp_path: Path) -> None:
    metrics = Metrics()
    small, large = picture(64, 48, shade=0), picture(128, 128, shade=0)
    with SegmentsSink(tmp_path / "out.mp4", minutes=1) as sink:
        sink.count_in(metrics)
        for number in range(300):
            image = large if number // 3 % 2 else small
            sink.write(frame(number / 25, image=image))
        paths = sink.paths
    assert sizes(paths) == [(300, 48, 64)]
    scaled = metrics.value(OUTPUT_SCALED, source="door", output="annotate")
    assert scaled == 150
    # The box of the tracks, (10, 10) to (30, 36), lies at 3/8 of its place, 8 pixels to the right.
    drawn = read_video(paths[0])[0][4].max(axis=2) > 60
    columns, rows = drawn.any(axis=0).nonzero()[0], drawn.any(axis=1).nonzero()[0]
    assert columns.min() == pytest.approx(8 + 10 * 3 / 8, abs=2)
    assert rows.min() == pytest.approx(10 * 3 / 8, abs=2)


def test_a_source_that_comes_and_goes_all_the_time_has_one_segment(tmp_path: Path) -> None:
    now = [0.0]
    with SegmentsSink(tmp_path / "out.mp4", clock=lambda: now[0]) as sink:
        for number in range(9):
            now[0] = number
            sink.event(state("retrying"))
            sink.event(state("live"))
            sink.write(frame(number))
        assert len(sink.paths) == 1
        now[0] = 10
        sink.event(state("retrying"))
        sink.event(state("live"))
        sink.write(frame(10))
        assert len(sink.paths) == 2


def test_a_gap_ends_a_segment_but_a_slow_camera_has_none(tmp_path: Path) -> None:
    with SegmentsSink(tmp_path / "out.mp4") as sink:
        for seconds in (0, 0.1, 9, 9.1):
            sink.write(frame(seconds, source="fast"))
        for number in range(20):
            sink.write(frame(20 * number, source="slow"))
        paths = sink.paths
    assert [frames_in(path) for path in paths] == [2, 2, 1, 19]


def test_frames_that_a_state_has_overtaken_belong_to_the_segment(tmp_path: Path) -> None:
    now = [0.0]
    with SegmentsSink(tmp_path / "out.mp4", clock=lambda: now[0]) as sink:
        sink.write(frame(0))
        states: tuple[State, ...] = ("retrying", "ended")
        for number, name in enumerate(states, start=1):
            sink.event(state(name))
            sink.write(frame(number / 10))
        (path,) = sink.paths
        now[0] += 4
        sink.end_lost()
        sink.write(frame(0.3))  # not away for long enough
        assert sink.paths == [path]
        now[0] += 2
        sink.end_lost()
        sink.write(frame(0.4))
    assert [frames_in(one) for one in sink.paths] == [4, 1]


def test_an_idle_sink_is_called() -> None:
    idle = threading.Event()

    class Idle(Sink):
        def idle(self) -> None:
            idle.set()

    sink = BackgroundSink(Idle(), name="annotate")
    sink.write(frame(0))
    assert idle.wait(30)
    sink.close()


def test_every_source_has_files_of_its_own_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    with SegmentsSink(tmp_path / "out.mp4", minutes=0.1, keep=2) as sink:
        for number in range(5):
            for source in ("rtsp://host/a b", "rtsp://host/a/b"):
                sink.write(frame(10 * number, source=source))
        paths = sink.paths
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(paths) == 4
    labels = {re.sub(r"-2001.*", "", path.name) for path in paths}
    assert labels == {"out-rtsp-host-a-b", "out-rtsp-host-a-b-2"}


def test_files_of_earlier_runs_count_and_nothing_else_is_touched(tmp_path: Path) -> None:
    begin = "out-door-2001-09-08T00-00-0"
    old = [f"{begin}1.mp4", f"{begin}1-2.mp4", f"{begin}1-10.mp4", f"{begin}2.mp4"]
    others = [
        *("out.mp4", "out-door.mp4", "out-door-2001-09-08.mp4", "door-2001-09-08T00-00-01.mp4"),
        *(f"{begin}1.m4v", f"{begin}1.mp4.bak", f".{begin}1.mp4.part", f"{begin}1-copy.mp4"),
        *("out-door-2-2001-09-08T00-00-01.mp4", "out-hall-2001-09-08T00-00-01.mp4"),
        *("my-out-door-2001-09-08T00-00-01.mp4", "2001-09-08T00-00-01.mp4"),
    ]
    for name in (*old, *others):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / f"{begin}3.mp4").mkdir()
    (tmp_path / f"{begin}4.mp4").symlink_to(tmp_path / "out.mp4")
    others += [f"{begin}3.mp4", f"{begin}4.mp4"]
    with SegmentsSink(tmp_path / "out.mp4", minutes=0.1, keep=3) as sink:
        sink.write(frame(0))
    first = "out-door-2001-09-09T01-46-40.mp4"
    assert {path.name for path in tmp_path.iterdir()} == {*old[2:], first, *others}
    with SegmentsSink(tmp_path / "out.mp4", minutes=0.1, keep=3) as sink:
        for number in range(20):
            sink.write(frame(number))
        paths = sink.paths
    assert len(paths) == 3
    assert {path.name for path in tmp_path.iterdir()} == {*(p.name for p in paths), *others}


def test_a_segment_plays_while_it_is_written(tmp_path: Path) -> None:
    with SegmentsSink(tmp_path / "out.mp4") as sink:
        for number in range(120):
            sink.write(frame(number / 25))
        (path,) = sink.paths
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(path.read_bytes())
        assert frames_in(copy) >= 50


def test_what_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.mp4"):
        SegmentsSink(tmp_path / "out.avi")
    with pytest.raises(OutputError, match="there is no folder"):
        SegmentsSink(tmp_path / "no" / "out.mp4")


class Gate(Sink):
    """Takes its first frame only when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.calls: list[object] = []
        self.thread: threading.Thread | None = None

    def write(self, result: FrameResult) -> None:
        self.entered.set()
        self.thread = threading.current_thread()
        assert self.open.wait(30)
        self.calls.append(result.frame.pts)

    def event(self, event: Event) -> None:
        self.calls.append(event.id)

    def close(self) -> None:
        self.calls.append("closed")


def test_a_slow_sink_loses_frames_but_no_events() -> None:
    gate, metrics = Gate(), Metrics()
    sink = BackgroundSink(gate, name="annotate", frames=3)
    sink.count_in(metrics)
    sink.write(frame(0))
    assert gate.entered.wait(30)
    events = [sighting(track_id=number) for number in range(50)]
    for number, event in enumerate(events, start=1):
        sink.write(frame(number))
        sink.event(event)
    assert metrics.value(OUTPUT_DROPPED, source="door", output="annotate", cause="late") == 48
    gate.open.set()
    sink.close()
    ids = [event.id for event in events]
    assert gate.calls == [0.0, 1.0, ids[0], 2.0, *ids[1:], "closed"]
    assert gate.thread is not None
    assert gate.thread is not threading.current_thread()
    assert not gate.thread.is_alive()


class Broken(Sink):
    """Fails with its first frame."""

    def __init__(self) -> None:
        self.closed = 0

    def write(self, result: FrameResult) -> None:
        raise OutputError("the disk is full")

    def close(self) -> None:
        self.closed += 1


def test_an_error_comes_out_at_the_next_call_and_the_sink_is_closed() -> None:
    inner = Broken()
    sink = BackgroundSink(inner, name="annotate")
    sink.write(frame(0))
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "annotate"])
    with pytest.raises(OutputError, match="the disk is full"):
        sink.write(frame(1))
    sink.close()
    assert inner.closed == 1


def test_an_error_at_the_end_comes_out_of_close() -> None:
    inner = Broken()
    sink = BackgroundSink(inner, name="annotate")
    sink.write(frame(0))
    with pytest.raises(OutputError, match="the disk is full"):
        sink.close()
    assert inner.closed == 1


def test_a_sink_that_never_had_work_has_no_thread() -> None:
    before = threading.active_count()
    BackgroundSink(Broken(), name="annotate").close()
    assert threading.active_count() == before
