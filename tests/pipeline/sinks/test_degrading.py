"""Outputs that fail while cameras run: what is lost is counted, and it works again by itself."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.config import EventSettings
from facestream.pipeline.core.errors import OutputClosed, OutputError, StageFailed
from facestream.pipeline.core.events import Event, Left, OutputStateEvent, parse_event
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.metrics.families import OUTPUT_DEGRADED, OUTPUT_ERRORS, OUTPUT_LOST
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.sinks.background import BackgroundSink
from facestream.pipeline.sinks.base import CallbackSink, Needs, Sink, SourcesSink
from facestream.pipeline.sinks.degrading import OutputHealth, cause_of
from facestream.pipeline.sinks.fan_out import FanOut
from facestream.pipeline.sinks.jsonl import JsonlSink
from facestream.pipeline.sinks.pictures import PicturesSink
from facestream.pipeline.sinks.video.files import VideoSink
from facestream.pipeline.sinks.video.segments import SegmentsSink

from tests.disks import disk_or_skip, fill
from tests.pipeline.tracks import picture, read_video, result, sighting

NOISE = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
"""About 10 kB as JPEG."""


class Run:
    """A live run's sinks, with a clock of its own."""

    def __init__(self, *sinks: Sink) -> None:
        self.now = 0.0
        self.metrics = Metrics()
        self.health = OutputHealth(self.metrics, clock=lambda: self.now)
        self.told: list[OutputStateEvent] = []
        telling = CallbackSink(on_event=self._take)
        self.sinks = FanOut([telling, *sinks])
        self.sinks.count_in(self.metrics)
        self.sinks.go_on_after_errors(self.health)

    def _take(self, event: Event) -> None:
        if isinstance(event, OutputStateEvent):
            self.told.append(event)

    def states(self) -> list[tuple[str, str, str, int]]:
        return [(one.output, one.state, one.cause, one.lost) for one in self.told]

    def lost(self, output: str, item: str, cause: str) -> int:
        return int(self.metrics.value(OUTPUT_LOST, output=output, item=item, cause=cause))

    def tick(self, seconds: float, *, frames: int = 1) -> None:
        """Frames come, the last one after so many seconds."""
        for _ in range(frames):
            self.now += seconds / frames
            self.sinks.write(result(picture(), source="door", pts=self.now))


class Flaky(Sink):
    """Writes what it is given, unless it is broken."""

    def __init__(self, *, needs: Needs = "searched", error: Exception | None = None) -> None:
        self.needs = needs
        self.error = error
        self.calls = 0
        self.got: list[object] = []
        self.closed = 0

    def write(self, result: FrameResult) -> None:
        if self.needs == "all":
            self._take(result)

    def event(self, event: Event) -> None:
        if self.needs != "all":
            self._take(event)

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error

    def _take(self, what: object) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.got.append(what)


def seen(number: int) -> Left:
    return sighting(track_id=number, source="door").with_image(NOISE)


def lines(path: Path) -> list[Event]:
    return [parse_event(line) for line in path.read_bytes().splitlines()]


def test_a_full_disk_costs_pictures_and_events_and_nothing_else(tmp_path: Path) -> None:
    with disk_or_skip(tmp_path / "disk") as disk:
        elsewhere = JsonlSink(tmp_path / "elsewhere.jsonl", earlier="append")
        elsewhere.output = "others"
        run = Run(
            PicturesSink(disk / "pictures", earlier="keep"),
            JsonlSink(disk / "events.jsonl", earlier="append"),
            elsewhere,
        )
        run.tick(0)
        run.sinks.event(seen(0))
        filler = fill(disk)
        for number in range(1, 30):  # the last page of the file takes some events
            run.sinks.event(seen(number))
            run.tick(0.1)
        kept = len(lines(disk / "events.jsonl"))
        assert 1 <= kept < 29
        assert {name for name, *_ in run.states()} == {"pictures", "events"}
        assert run.lost("pictures", "picture", "disk_full") == 29
        assert run.metrics.value(OUTPUT_DEGRADED, output="events") == 1
        assert 2 <= run.metrics.value(OUTPUT_ERRORS, output="pictures", cause="disk_full") <= 4
        filler.unlink()
        run.tick(60)
        for number in range(30, 33):
            run.sinks.event(seen(number))
        run.sinks.close()
        found = lines(disk / "events.jsonl")
        pictures = sorted(path.name for path in (disk / "pictures").iterdir())
    assert {one[:2] for one in run.states()[-2:]} == {
        ("pictures", "recovered"),
        ("events", "recovered"),
    }
    ids = [event.track_id for event in found if isinstance(event, Left)]
    assert ids[0] == 0
    assert ids[-3:] == [30, 31, 32]
    assert any(isinstance(event, OutputStateEvent) for event in found), "it says what was lost"
    others = lines(tmp_path / "elsewhere.jsonl")
    assert [e.track_id for e in others if isinstance(e, Left)] == list(range(33))
    without = [e.track_id for e in others if isinstance(e, Left) and e.picture is None]
    assert without == list(range(1, 30))
    assert len(pictures) == 4
    assert run.metrics.value(OUTPUT_DEGRADED, output="events") == 0
    events = next(one for one in run.health.reports() if one.name == "events")
    assert (events.degraded, events.cause) == (False, "disk_full")
    assert events.lost == {"event": run.lost("events", "event", "disk_full")}
    written = len(ids) + sum(events.lost.values())
    states = len(run.told)
    assert 33 <= written <= 33 + states


@pytest.mark.parametrize("kind", ["segments", "files"])
def test_annotated_video_goes_on_in_another_file(tmp_path: Path, kind: str) -> None:
    with disk_or_skip(tmp_path / "disk", kilobytes=256) as disk:
        path = disk / "out.mp4"
        sink = SegmentsSink(path) if kind == "segments" else VideoSink(path, naming="per_source")
        run = Run(sink)
        run.tick(4, frames=60)
        filler = fill(disk)
        rng = np.random.default_rng(1)
        for _ in range(120):
            run.now += 0.1
            noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
            run.sinks.write(result(noise, source="door", pts=run.now))
        name = "annotate" if kind == "segments" else "annotate_files"
        assert run.states()[0] == (name, "degraded", "disk_full", 0)
        assert 60 < run.lost(name, "frame", "disk_full") <= 130
        filler.unlink()
        run.tick(40, frames=40)
        run.sinks.close()
        videos = [len(read_video(one)[0]) for one in sink.paths]
        assert run.states()[-1][:2] == (name, "recovered")
        assert len(videos) == 2, "none is left of the attempts"
        lost = run.lost(name, "frame", "disk_full")
        assert sum(videos) + lost == 60 + 120 + 40
        assert videos[0] >= 50
        assert 1 <= videos[1] <= 40


def test_a_line_that_the_system_cuts_short_is_completed_or_gone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    run = Run(JsonlSink(path, earlier="append"))
    run.sinks.event(seen(0))
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        run.sinks.event(seen(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.states() == [("events", "degraded", "too_large", 0)]
    with path.open("ab") as file:  # what a device that went away may leave
        file.write(b'{"half')
    run.tick(2)
    run.sinks.event(seen(2))
    run.sinks.close()
    found = lines(path)
    assert [event.type for event in found] == ["left", "output_state", "left"]
    assert isinstance(found[1], OutputStateEvent)
    assert (found[1].state, found[1].lost) == ("recovered", 1)


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    run = Run(PicturesSink(folder))
    shutil.rmtree(folder)
    run.sinks.event(seen(0))
    run.tick(0.5)
    assert run.states() == [("pictures", "degraded", "missing", 0)]
    run.tick(1)
    run.sinks.event(seen(1))
    assert run.states()[1] == ("pictures", "recovered", "missing", 1)
    assert [path.name for path in folder.iterdir()] == ["door-0001-unknown.jpg"]


def test_an_output_that_does_not_get_the_event_still_recovers(tmp_path: Path) -> None:
    settings = EventSettings(types=("left",))
    run = Run(JsonlSink(tmp_path / "events.jsonl", settings=settings, earlier="append"))
    (tmp_path / "events.jsonl").mkdir()
    run.sinks.event(seen(0))
    (tmp_path / "events.jsonl").rmdir()
    run.tick(2)
    assert [one[1] for one in run.states()] == ["degraded", "recovered"]
    run.sinks.event(seen(1))
    run.sinks.close()
    found = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["type"] for event in found] == ["left"]


def test_pauses_grow_and_are_kept_while_it_fails_again_soon(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Flaky(needs="all", error=OSError(28, "No space left on device"))
    run = Run(SourcesSink(sink, ["door"]))
    run.tick(300, frames=3000)
    assert sink.calls == pytest.approx(5 + 300 / 30, abs=1)
    assert len(caplog.records) == 1
    for _ in range(10):  # works, and fails again
        sink.error = None
        run.tick(31, frames=31)
        sink.error = OSError(5, "Input/output error")
        run.tick(1)
    assert len(caplog.records) == 1 + 20
    assert run.told[-1].cause == "io_error"
    (report,) = run.health.reports()
    assert report.lost["frame"] + len(sink.got) == 3000 + 10 * 32


def test_errors_in_the_background_and_of_any_kind_are_the_outputs_own() -> None:
    sink = Flaky(needs="all", error=ValueError("a mistake"))
    background = BackgroundSink(sink, name="annotate")
    run = Run(background)
    run.tick(1)
    background.close()
    run.sinks.source_ended("door")
    assert sink.calls == 1
    assert sink.closed == 1
    (report,) = run.health.reports()
    assert (report.degraded, report.cause) == (True, "failed")
    assert "ValueError: a mistake" in report.reason


def test_what_ends_a_live_run_all_the_same() -> None:
    def fails(event: Event) -> None:
        raise ValueError("the program's own")

    with pytest.raises(StageFailed, match="the program's own"):
        Run(CallbackSink(on_event=fails)).sinks.event(seen(0))
    with pytest.raises(StageFailed, match="went away"):
        Run(Flaky(error=OutputClosed("the reader went away"))).sinks.event(seen(0))


def test_without_live_sources_an_error_is_one() -> None:
    with pytest.raises(StageFailed):
        FanOut([Flaky(error=OutputError("the disk is full"))]).event(seen(0))


@pytest.mark.parametrize(
    ("number", "cause"),
    [(28, "disk_full"), (122, "disk_full"), (13, "denied"), (30, "denied"), (24, "no_descriptors")],
)
def test_causes_are_found_behind_other_errors(number: int, cause: str) -> None:
    error = OutputError("cannot write")
    error.__cause__ = OSError(number, os.strerror(number))
    assert cause_of(error) == cause
    assert cause_of(ValueError()) == "failed"
