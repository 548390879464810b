"""What is counted while a run goes on, and what its report says of live sources."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core.events import SourceStateEvent
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.metrics.families import FRAME_AGE, FRAMES_DROPPED, FRAMES_SKIPPED
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.observability.run_statistics import RunStatistics
from facestream.pipeline.runtime.source_queue import SourceQueue
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.tracks import picture, result, sighting


def test_a_live_source_has_ages_drops_and_its_state() -> None:
    metrics, queue = Metrics(), SourceQueue[Any]()
    metrics.watch_sources(queue.source_stats)
    live, file = queue.open("door", live=True), queue.open("clip.mp4", live=False)
    for number in range(4):
        live.put(number)
    file.put(1)
    states = [
        SourceState("door", live=True, state="retrying", restarts=2, buffer=live),
        SourceState("clip.mp4", expected=9, opened=True, buffer=file),
    ]
    statistics = RunStatistics(metrics)
    statistics.start(states)
    for source in ("door", "door", "clip.mp4"):
        done = result(picture(), source=source)
        arrived = replace(done.frame, captured_at=time.monotonic() - 0.25)
        statistics.count(replace(done, frame=arrived))
    metrics.add(FRAMES_SKIPPED, 6, source="door")
    metrics.add(FRAMES_DROPPED, 2, source="clip.mp4", cause="failed")
    now = statistics.progress(dropped=queue.dropped)
    assert (now.frames, now.total, now.dropped) == (9, None, 5)
    assert list(now.ages) == ["door"]
    assert now.states == {"door": "retrying"}
    statistics.end(interrupted=False)
    report = statistics.report(embedded=0, backends={})
    assert (report.frames, report.skipped) == (9, 6)
    assert report.dropped == {"superseded": 3, "failed": 2}
    door, clip = report.sources
    assert (door.frames, door.skipped, door.dropped) == (8, 6, {"superseded": 3})
    assert (door.state, door.restarts) == ("retrying", 2)
    assert door.age is not None
    assert 0.25 <= door.age.p50 <= door.age.p95 <= door.age.p99 <= door.age.largest
    assert (clip.frames, clip.skipped, clip.age, clip.state) == (1, 0, None, None)
    assert clip.dropped == {"failed": 2}
    assert json.loads(json.dumps(report.to_dict()))["sources"][0]["age"]["p50"] == door.age.p50


def test_the_total_is_known_when_every_source_says_how_long_it_is() -> None:
    states = [SourceState(f"{n}.mp4") for n in range(3)]
    states.append(SourceState("missing.mp4", done=True, problems=["missing"]))
    statistics = RunStatistics(Metrics())
    statistics.start(states)
    for number, state in enumerate(states[:3]):
        assert statistics.progress(dropped=0).total is None
        state.opened, state.expected = True, 10 + number
        state.done = number < 2
    assert statistics.progress(dropped=0).total == 33
    states[2].done = True
    assert statistics.progress(dropped=0).total == 33


def test_a_source_that_does_not_say_leaves_the_total_unknown() -> None:
    states = [SourceState("pipe.ts", opened=True, done=True), SourceState("clip.mp4", expected=3)]
    statistics = RunStatistics(Metrics())
    statistics.start(states)
    assert statistics.progress(dropped=0).total is None


class Reads:
    """Calls of Python functions while the block runs, as a measure of work."""

    def __enter__(self) -> Reads:
        self.calls = 0
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _: object, what: str, __: object) -> None:
        self.calls += what in ("call", "c_call")


def work(sources: int) -> tuple[int, int]:
    """The calls of a progress line in the middle of a run over so many files, and of its report."""
    metrics, queue = Metrics(), SourceQueue[Any]()
    metrics.watch_sources(queue.source_stats)
    metrics.watch(queue.stats)
    statistics = RunStatistics(metrics)
    states = [SourceState(f"{n}.mp4") for n in range(2 * sources)]
    statistics.start(states)
    for state in states[:sources]:
        buffer = state.buffer = queue.open(state.name, live=False)
        buffer.put(1)
        queue.get_batch(1, 0)
        buffer.close()
        state.opened, state.expected, state.done = True, 1, True
        metrics.add(FRAMES_SKIPPED, 3, source=state.name)
        metrics.add(FRAMES_DROPPED, source=state.name, cause="failed")
        statistics.count(result(picture(), source=state.name))
        statistics.progress(dropped=queue.dropped)
    with Reads() as progress:
        now = statistics.progress(dropped=queue.dropped)
    assert (now.frames, now.dropped) == (4 * sources, sources)
    with Reads() as report:
        done = statistics.report(embedded=0, backends={})
    assert [s.frames for s in done.sources] == [4] * sources + [0] * sources
    return progress.calls, report.calls


def test_reporting_is_linear_in_the_sources_and_progress_constant() -> None:
    few, many = work(100), work(400)
    assert many[0] == few[0]
    assert many[1] < 4.2 * few[1]


def test_a_sighting_is_counted_when_it_is_over() -> None:
    statistics = RunStatistics(Metrics())
    state = SourceStateEvent(source="door", utc=datetime.fromtimestamp(1e9, UTC), state="live")
    for event in (state, sighting(name="Ada"), sighting()):
        statistics.event(event)
    assert statistics.sightings == 2


@given(
    st.lists(st.floats(0.02, 2.0), min_size=20, max_size=200), st.sampled_from([0.5, 0.95, 0.99])
)
def test_quantiles_of_ages_are_within_a_quarter(ages: list[float], q: float) -> None:
    metrics = Metrics()
    for age in ages:
        metrics.observe(FRAME_AGE, age, source="door")
    seen = metrics.distribution(FRAME_AGE, source="door")
    assert seen is not None
    # The values around the quantile: an estimate between them is right.
    low = float(np.quantile(ages, q, method="inverted_cdf"))
    high = float(np.quantile(ages, q, method="higher"))
    assert low / 1.251 <= seen.quantile(q) <= high * 1.251


def test_a_source_that_never_opened_has_no_age() -> None:
    statistics = RunStatistics(Metrics())
    statistics.start([SourceState("door", live=True, state="failed")])
    report = statistics.report(embedded=0, backends={})
    assert report.sources[0].age is None
    assert report.fps == pytest.approx(0)
