"""What is counted while a run goes on, and what its report says of live sources."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from facestream.pipeline.events import Identified, Moment
from facestream.pipeline.inbox import Inbox
from facestream.pipeline.metrics import (
    FRAME_AGE,
    FRAMES_SKIPPED,
    IDENTITIES,
    SIGMA,
    TIME_TO_NAME,
    Metrics,
)
from facestream.pipeline.reader import SourceState
from facestream.pipeline.tally import Tally
from hypothesis import given
from hypothesis import strategies as st

from .tracks import picture, result, sighting


def test_a_live_source_has_ages_drops_and_its_state() -> None:
    metrics, inbox = Metrics(), Inbox[int]()
    metrics.watch_lanes(inbox.lanes)
    live, file = inbox.open("door", live=True), inbox.open("clip.mp4", live=False)
    for number in range(4):
        live.put(number)
    file.put(1)
    tally = Tally(metrics)
    tally.start()
    for source in ("door", "door", "clip.mp4"):
        done = result(picture(), source=source)
        tally.count(replace(done, frame=replace(done.frame, captured_at=time.monotonic() - 0.25)))
    metrics.add(FRAMES_SKIPPED, 6, source="door")
    states = [
        SourceState("door", state="retrying", restarts=2),
        SourceState("clip.mp4", expected=9, opened=True),
    ]
    now = tally.progress(states, inbox.lanes())
    assert (now.frames, now.total, now.dropped) == (9, None, 3)
    assert list(now.ages) == ["door"]
    assert now.states == {"door": "retrying"}
    tally.end(interrupted=False)
    report = tally.report(states, inbox.lanes(), embedded=0, backends={})
    assert (report.frames, report.skipped, report.dropped) == (9, 6, {"superseded": 3})
    door, clip = report.sources
    assert (door.frames, door.skipped, door.dropped) == (8, 6, {"superseded": 3})
    assert (door.state, door.restarts) == ("retrying", 2)
    assert door.age is not None
    assert 0.25 <= door.age.p50 <= door.age.p95 <= door.age.p99 <= door.age.largest
    assert (clip.frames, clip.skipped, clip.age, clip.state) == (1, 0, None, None)
    assert json.loads(json.dumps(report.to_dict()))["sources"][0]["age"]["p50"] == door.age.p50


def test_what_sightings_came_to_is_counted() -> None:
    metrics = Metrics()
    tally = Tally(metrics)
    known = sighting(name="Ada").model_copy(update={"uncertainty": 0.4})
    named = Identified(
        **known.model_dump(include=set(Identified.model_fields) & set(type(known).model_fields))
        | {"type": "identified"},
        at=Moment.at(1, 1e9),
        box=(1, 2, 3, 4),
        after=0.7,
    )
    for event in (named, known, sighting(), sighting()):
        tally.event(event)
    assert tally.sightings == 3
    assert metrics.value(IDENTITIES, outcome="known", reason="") == 1
    assert metrics.value(IDENTITIES, outcome="unknown", reason="below_threshold") == 2
    sigma, seconds = metrics.histogram(SIGMA), metrics.histogram(TIME_TO_NAME)
    assert sigma is not None
    assert seconds is not None
    assert (sigma.count, sigma.total, seconds.count, seconds.total) == (1, 0.4, 1, 0.7)


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
    tally = Tally(Metrics())
    report = tally.report([SourceState("door", state="failed")], [], embedded=0, backends={})
    assert report.sources[0].age is None
    assert report.fps == pytest.approx(0)
