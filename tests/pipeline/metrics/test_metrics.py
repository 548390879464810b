"""Counters, gauges, histograms, and what an exporter reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from facestream.pipeline.metrics.families import (
    BATCH_FRAMES,
    FRAME_AGE,
    FRAMES_DROPPED,
    FRAMES_IN,
    QUEUE_DEPTH,
    QUEUE_HIGH_WATER,
    SOURCE_STATE,
    STAGE_SECONDS,
)
from facestream.pipeline.metrics.store import Distribution, Metrics
from facestream.pipeline.observability.report import limiting_queue
from facestream.pipeline.runtime.channel import Channel, QueueStats
from hypothesis import given
from hypothesis import strategies as st


def test_counters_by_label_and_summed() -> None:
    metrics = Metrics()
    metrics.add(FRAMES_DROPPED, source="a", cause="superseded")
    metrics.add(FRAMES_DROPPED, 4, source="b", cause="superseded")
    metrics.add(FRAMES_DROPPED, source="b", cause="discarded")
    assert metrics.value(FRAMES_DROPPED) == 6
    assert metrics.value(FRAMES_DROPPED, source="b", cause="superseded") == 4
    assert metrics.values(FRAMES_DROPPED) == {
        ("a", "superseded"): 1,
        ("b", "superseded"): 4,
        ("b", "discarded"): 1,
    }
    assert metrics.dropped() == {"a": {"superseded": 1}, "b": {"superseded": 4, "discarded": 1}}
    assert metrics.value(FRAMES_IN) == 0


def test_wrong_use_is_an_error() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="has the labels source, cause; given: source"):
        metrics.add(FRAMES_DROPPED, source="a")
    with pytest.raises(ValueError, match="is a histogram, not a counter"):
        metrics.add(FRAME_AGE, source="a")
    with pytest.raises(ValueError, match="is a counter, not a gauge"):
        metrics.set(FRAMES_IN, 1, source="a")
    with pytest.raises(ValueError, match="has the labels source, cause; given: source"):
        metrics.value(FRAMES_DROPPED, source="a")


def test_gauge_keeps_the_last() -> None:
    metrics = Metrics()
    metrics.set(SOURCE_STATE, 3, source="a", state="live")
    metrics.set(SOURCE_STATE, 2, source="a", state="live")
    assert metrics.value(SOURCE_STATE, source="a", state="live") == 2


def test_a_batch_is_observed_by_its_stage() -> None:
    metrics = Metrics()
    metrics.observe_batch("x", 0.5, 3)
    seen = metrics.distribution(STAGE_SECONDS, stage="x")
    assert seen is not None
    assert (seen.count, seen.total) == (1, 0.5)
    assert metrics.distribution(STAGE_SECONDS, stage="y") is None
    assert list(metrics.distributions(BATCH_FRAMES)) == [("x",)]


def test_reading_what_was_never_set_creates_nothing() -> None:
    metrics = Metrics()
    assert metrics.value(FRAMES_IN, source="a") == 0
    assert metrics.distribution(FRAME_AGE, source="a") is None
    assert metrics.registry.get_sample_value(FRAMES_IN.name, {"source": "a"}) is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.floats(0, 1))
def test_histogram_agrees_with_numpy(values: list[float], q: float) -> None:
    metrics = Metrics()
    for value in values:
        metrics.observe(FRAME_AGE, value, source="s")
        metrics.observe(FRAME_AGE, 3.0, source="another")
    seen = metrics.distribution(FRAME_AGE, source="s")
    assert seen is not None
    assert seen.count == sum(seen.buckets) == len(values)
    assert seen.total == pytest.approx(sum(values))
    assert (seen.smallest, seen.largest) == (min(values), max(values))
    edges = np.concatenate(([-np.inf], seen.bounds, [np.inf]))
    inside = [sum(low < value <= high for value in values) for low, high in pairwise(edges)]
    assert list(seen.buckets) == inside
    exact = np.quantile(values, q, method="inverted_cdf")
    bucket = int(np.searchsorted(seen.bounds, exact))
    estimate = seen.quantile(q)
    assert seen.smallest <= estimate <= seen.largest
    low, high = edges[bucket], edges[bucket + 1]  # right up to the width of a bucket
    assert low - 1e-9 <= estimate <= high + 1e-9


def test_quantile_of_what() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Distribution(1, 1.0, 1.0, 1.0, (), (1,)).quantile(1.5)


def test_threads_lose_no_update() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.add(FRAMES_IN, source="a")
            metrics.observe(BATCH_FRAMES, 1, stage="s")

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(work)
    assert metrics.value(FRAMES_IN) == 8000
    assert metrics.value(FRAMES_IN, source="a") == 8000
    seen = metrics.distribution(BATCH_FRAMES, stage="s")
    assert seen is not None
    assert seen.count == 8000


def test_the_registry_reads_the_queues() -> None:
    metrics = Metrics()
    channel: Channel[int] = Channel(4, "found")
    metrics.watch(channel.stats)
    channel.put_all([1, 2, 3])
    channel.get()
    metrics.add(FRAMES_IN, source="a")
    metrics.observe(FRAME_AGE, 0.03, source="a")
    read = metrics.registry.get_sample_value
    assert read(QUEUE_DEPTH.name, {"queue": "found"}) == 2
    assert read(QUEUE_HIGH_WATER.name, {"queue": "found"}) == 3
    assert read(FRAMES_IN.name, {"source": "a"}) == 1
    assert read(f"{FRAME_AGE.name}_sum", {"source": "a"}) == pytest.approx(0.03)


def test_what_changes_on_its_own_is_asked_before_each_scrape() -> None:
    metrics = Metrics()
    depths = iter((7, 8))
    metrics.refresh_with(lambda: metrics.set(SOURCE_STATE, next(depths), source="a", state="live"))
    labels = {"source": "a", "state": "live"}
    assert metrics.registry.get_sample_value(SOURCE_STATE.name, labels) == 7
    assert metrics.registry.get_sample_value(SOURCE_STATE.name, labels) == 8


def test_two_runs_in_one_process_do_not_share_values() -> None:
    one, other = Metrics(), Metrics()
    one.add(FRAMES_IN, source="a")
    assert other.value(FRAMES_IN, source="a") == 0


IDLE = QueueStats("q", 4, 0, 0, 0, 0, 0.0, 0.0)


def test_limiting_queue() -> None:
    queue = replace(IDLE, name="inbox", blocked_seconds=9.0, waited_seconds=0.1)
    found = replace(IDLE, name="found", blocked_seconds=0.2, waited_seconds=8.0)
    assert limiting_queue([queue, found]) == queue
    slow_end = [
        replace(queue, waited_seconds=0.0),
        replace(found, blocked_seconds=7.0, waited_seconds=0.1),
    ]
    assert limiting_queue(slow_end) == slow_end[1]
    slow_sources = [replace(queue, blocked_seconds=0.0, waited_seconds=5.0), found]
    assert limiting_queue(slow_sources) is None
    assert limiting_queue([]) is None
