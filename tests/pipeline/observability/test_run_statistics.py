"""What is counted while a run goes on, and what its report says of live sources."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from facestream.pipeline.core.events import Moment, SourceStateEvent
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.metrics import FRAME_AGE, FRAMES_SKIPPED, Metrics
from facestream.pipeline.observability.run_statistics import RunStatistics
from facestream.pipeline.runtime.source_queue import SourceQueue
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.tracks import picture, result, sighting


def test_a_live_source_has_ages_drops_and_its_state() -> None:
    metrics, queue = Metrics(), SourceQueue[int]()
    metrics.watch_sources(queue.source_stats)
    live, file = queue.open("door", live=True), queue.open("clip.mp4", live=False)
    for number in range(4):
        live.put(number)
    file.put(1)
    statistics = RunStatistics(metrics)
    statistics.start()
    for source in ("door", "door", "clip.mp4"):
        done = result(picture(), source=source)
        statistics.count(replace(done, frame=replace(done.frame, captured_at=time.monotonic() - 0.25)))
    metrics.add(FRAMES_SKIPPED, 6, source="door")
    states = [
        SourceState("door", state="retrying", restarts=2),
        SourceState("clip.mp4", expected=9, opened=True),
    ]
    now = statistics.progress(states, queue.source_stats())
    assert (now.frames, now.total, now.dropped) == (9, None, 3)
    assert list(now.ages) == ["door"]
    assert now.states == {"door": "retrying"}
    statistics.end(interrupted=False)
    report = statistics.report(states, queue.source_stats(), embedded=0, backends={})
    assert (report.frames, report.skipped, report.dropped) == (9, 6, {"superseded": 3})
    door, clip = report.sources
    assert (door.frames, door.skipped, door.dropped) == (8, 6, {"superseded": 3})
    assert (door.state, door.restarts) == ("retrying", 2)
    assert door.age is not None
    assert 0.25 <= door.age.p50 <= door.age.p95 <= door.age.p99 <= door.age.largest
    assert (clip.frames, clip.skipped, clip.age, clip.state) == (1, 0, None, None)
    assert json.loads(json.dumps(report.to_dict()))["sources"][0]["age"]["p50"] == door.age.p50


def test_a_sighting_is_counted_when_it_is_over() -> None:
    statistics = RunStatistics(Metrics())
    state = SourceStateEvent(source="door", utc=Moment.at(0, 1e9).utc, state="live")
    for event in (state, sighting(name="Ada"), sighting()):
        statistics.event(event)
    assert statistics.sightings == 2


@given(
    st.lists(st.floats(0.02, 2.0), min_size=20, max_size=200),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_quantiles_of_ages_are_within_a_quarter(ages: list[float], q: float) -> None:
    metrics = Metrics()
    for age in ages:
        metrics.observe(FRAME_AGE, age, source="door")
    seen = metrics.histogram(FRAME_AGE)
    assert seen is not None
    # The values around the quantile: an estimate between them is right.
    low = float(np.quantile(ages, q, method="inverted_cdf"))
    high = float(np.quantile(ages, q, method="higher"))
    assert low / 1.251 <= seen.quantile(q) <= high * 1.251


def test_an_unknown_source_has_no_age() -> None:
    statistics = RunStatistics(Metrics())
    report = statistics.report([SourceState("door", state="failed")], [], embedded=0, backends={})
    assert report.sources[0].age is None
    assert report.fps == pytest.approx(0)
