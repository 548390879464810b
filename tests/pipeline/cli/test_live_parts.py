"""What the command line shows of live runs: progress, the table, who is named, the window."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import cv2
import pytest
from facestream.pipeline.cli.progress import describe
from facestream.pipeline.cli.summary import AnnounceSink, SummarySink
from facestream.pipeline.cli.tables import limit_lines, live_table
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.core.events import Appeared, Identified, Moment, Updated
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.metrics.families import FACES_LEFT_OUT
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.observability.report import AgeReport, Progress
from facestream.pipeline.observability.run_statistics import RunStatistics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sinks.window import WindowSink
from rich.console import Console

from tests.pipeline.tracks import picture, result, sighting

NOW: dict[str, Any] = {
    "source": "door",
    "sighting": "s",
    "track_id": 1,
    "model": "test",
    "at": Moment.at(3, 1e9),
    "box": (1, 2, 3, 4),
}


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_tells_the_oldest_source_and_the_states() -> None:
    now = Progress(
        frames=50,
        total=None,
        faces=7,
        dropped=2,
        fps=25.0,
        queues={"inbox": 1},
        source="door",
        ages={"door": AgeReport(0.08, 0.14, 0.21, 0.3)},
        states={"door": "live"},
    )
    assert describe(now).endswith("dropped 2 · age 80/140/210 ms · 1 live")
    several = replace(
        now,
        ages={**now.ages, "gate": AgeReport(0.05, 0.4, 0.5, 0.6)},
        states={"door": "live", "gate": "live", "yard": "retrying"},
    )
    assert describe(several).endswith("age 50/400/500 ms (gate) · 2 live, 1 retrying")


def test_the_table_of_live_sources() -> None:
    buffer = SourceQueue[Any]().open("door", live=True)
    statistics = RunStatistics(Metrics())
    statistics.count(result(picture(), source="door"))
    door = SourceState("door", live=True, state="ended", restarts=3, buffer=buffer)
    clip = SourceState("clip[1].mp4")
    statistics.start([door, clip])
    report = statistics.report(embedded=0, backends={})
    shown = console()
    shown.print(live_table(report))
    assert "door" in text_of(shown)
    assert "ended" in text_of(shown)
    assert "clip" not in text_of(shown)
    statistics.start([clip])
    files_only = statistics.report(embedded=0, backends={})
    assert live_table(files_only) is None


def test_a_limited_camera_has_a_line_of_what_was_left_out() -> None:
    metrics = Metrics()
    metrics.add(FACES_LEFT_OUT, 1200, source="door", cause="rate")
    metrics.add(FACES_LEFT_OUT, 34, source="door", cause="faces")
    for name in ("door", "gate"):  # the end of a run is no limit
        metrics.add(FACES_LEFT_OUT, 3, source=name, cause="busy")
    statistics = RunStatistics(metrics)
    statistics.start([SourceState(name, live=True) for name in ("door", "gate")])
    report = statistics.report(embedded=0, backends={})
    assert limit_lines(report) == [
        "door: 1,234 faces left out by the limits (faces 34, rate 1,200)"
    ]


def test_who_is_named_is_announced() -> None:
    shown = console()
    sink = AnnounceSink(shown, ["door"])
    ada = {**NOW, "person_id": 1, "name": "[b]Ada", "similarity": 0.59}
    sink.event(Appeared(**NOW, start=Moment.at(2, 1e9)))
    sink.event(Identified(**ada, after=1))
    sink.event(Identified(**{**ada, "source": "clip.mp4"}, after=1))
    sink.event(Updated(**ada, change="surer"))
    sink.event(Updated(**ada, change="renamed", previous_name="Eve"))
    sink.event(Updated(**NOW, change="withdrawn", previous_name="Ada"))
    lines = [line.split("  ", 1)[1].rstrip() for line in text_of(shown).splitlines()]
    assert lines == [
        "[b]Ada  door  0.59",
        "[b]Ada (not Eve)  door  0.59",
        "not Ada after all  door  0.00",
    ]


def test_live_sightings_have_the_time_of_the_day() -> None:
    summary = SummarySink(live=["door"])
    summary.event(sighting(source="door"))
    summary.event(sighting(source="clip.mp4"))
    spans = {seen.source: seen.spans[0] for seen in summary.people()}
    assert spans["clip.mp4"] == "0:00–0:01"
    assert spans["door"].split("–")[0].endswith(":46:40")


def test_a_window_needs_a_display_and_an_opencv_that_has_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:    NONE\n")
    with pytest.raises(UsageError, match=r"pip install 'facestream\[show\]'"):
        WindowSink({"DISPLAY": ":0"})
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:    QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UsageError, match="needs a display and there is none"):
        WindowSink({})
    WindowSink({"DISPLAY": ":0"}).close()
