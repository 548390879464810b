"""The queue: a buffer per source, fair turns, drops only in live buffers and all counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from facestream.pipeline.core.errors import Closed
from facestream.pipeline.runtime.source_queue import (
    DISCARDED,
    SUPERSEDED,
    SourceBuffer,
    SourceQueue,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import wait_until

Item = tuple[str, int]


def put_all(buffer: SourceBuffer[int], items: Iterable[int]) -> None:
    for item in items:
        buffer.put(item)


def drain(queue: SourceQueue[Item], max_items: int) -> list[Item]:
    got: list[Item] = []
    while True:
        try:
            got += queue.get_batch(max_items, 0.0)
        except Closed:
            return got


def test_live_source_keeps_the_newest() -> None:
    queue: SourceQueue[int] = SourceQueue()
    buffer = queue.open("camera", live=True)
    for n in range(5):
        buffer.put(n)
    assert queue.get_batch(8, 0) == [4]
    stats = buffer.stats()
    assert stats.dropped == {SUPERSEDED: 4}
    assert (stats.accepted, stats.taken, stats.depth) == (5, 1, 0)


def test_file_source_blocks_and_never_drops() -> None:
    queue: SourceQueue[int] = SourceQueue()
    buffer = queue.open("file", live=False, capacity=2)
    with ThreadPoolExecutor() as pool:
        puts = pool.submit(put_all, buffer, range(3))
        wait_until(lambda: len(buffer._not_full._waiters) == 1)  # type: ignore[attr-defined]
        assert queue.depth == 2
        assert queue.get_batch(1, 0) == [0]
        puts.result(timeout=10)
    buffer.close()
    queue.seal()
    assert queue.get_batch(8, 0) == [1, 2]
    with pytest.raises(Closed, match="ended"):
        queue.get_batch(1, 0)
    assert buffer.stats().dropped == {}
    assert buffer.stats().blocked_seconds > 0
    assert queue.stats().blocked_seconds == buffer.stats().blocked_seconds


def test_sources_take_turns() -> None:
    queue: SourceQueue[str] = SourceQueue()
    buffers = [queue.open(name, live=False) for name in "abc"]
    for buffer in buffers:
        for n in range(3):
            buffer.put(f"{buffer.name}{n}")
    assert queue.get_batch(4, 0) == ["a0", "b0", "c0", "a1"]
    assert queue.get_batch(5, 0) == ["b1", "c1", "a2", "b2", "c2"]


def test_ends_only_when_sealed_and_every_source_is_done() -> None:
    queue: SourceQueue[int] = SourceQueue()
    one = queue.open("one", live=False)
    one.put(1)
    one.close()
    assert queue.get_batch(1, 0) == [1]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(queue.get_batch, 1, 0.0)
        two = queue.open("two", live=False)  # not sealed: more sources may come
        queue.seal()
        two.put(2)
        assert waiting.result(timeout=10) == [2]
        waiting = pool.submit(queue.get_batch, 1, 0.0)
        two.close()
        with pytest.raises(Closed):
            waiting.result(timeout=10)
    with pytest.raises(Closed, match="sealed"):
        queue.open("three", live=False)


def test_lingers_for_other_lanes() -> None:
    queue: SourceQueue[int] = SourceQueue()
    one, two = queue.open("one", live=True), queue.open("two", live=True)
    queue.seal()
    with ThreadPoolExecutor() as pool:
        one.put(1)
        batch = pool.submit(queue.get_batch, 2, 60.0)
        wait_until(lambda: queue.depth == 0)
        two.put(2)
        assert batch.result(timeout=10) == [1, 2]
        one.put(3)
        batch = pool.submit(queue.get_batch, 2, 60.0)
        wait_until(lambda: queue.depth == 0)
        one.close()
        two.close()  # nobody can add to the batch any more
        assert batch.result(timeout=10) == [3]


def test_abort_wakes_everybody_and_counts() -> None:
    queue: SourceQueue[int] = SourceQueue()
    full, empty = (
        queue.open("full", live=False, capacity=1),
        queue.open("empty", live=False, capacity=1),
    )
    full.put(1)
    with ThreadPoolExecutor() as pool:
        put = pool.submit(full.put, 2)
        wait_until(lambda: len(full._not_full._waiters) == 1)  # type: ignore[attr-defined]
        queue.close(discard=True)
        with pytest.raises(Closed, match="'full' is closed"):
            put.result(timeout=10)
    assert queue.aborted
    assert full.stats().dropped == {DISCARDED: 1}
    with pytest.raises(Closed):
        queue.get_batch(1, 0)
    with pytest.raises(Closed):
        empty.put(3)


def test_one_source_may_be_discarded_alone() -> None:
    queue: SourceQueue[str] = SourceQueue()
    bad, good = queue.open("bad", live=False), queue.open("good", live=False)
    bad.put("x")
    good.put("y")
    bad.close(discard=True)
    good.close()
    queue.seal()
    assert drain_strings(queue) == ["y"]


def drain_strings(queue: SourceQueue[str]) -> list[str]:
    got: list[str] = []
    while True:
        try:
            got += queue.get_batch(4, 0.0)
        except Closed:
            return got


def test_bad_sizes() -> None:
    queue: SourceQueue[int] = SourceQueue()
    with pytest.raises(ValueError, match="'x' must be at least 1"):
        queue.open("x", live=True, capacity=0)
    with pytest.raises(ValueError, match="max_items"):
        queue.get_batch(0, 0)


def test_fast_cameras_do_not_starve_slow_ones() -> None:
    """Two cameras at 200 fps, four at 10 fps, compute for 100 fps: simulated by the millisecond."""
    queue: SourceQueue[Item] = SourceQueue()
    rates = {"fast0": 200, "fast1": 200, "slow0": 10, "slow1": 10, "slow2": 10, "slow3": 10}
    buffers = {name: queue.open(name, live=True) for name in rates}
    got: Counter[str] = Counter()
    for tick in range(2000):  # milliseconds
        for name, rate in rates.items():
            if tick % (1000 // rate) == 0:
                buffers[name].put((name, tick))
        if tick % 10 == 9:
            got.update(name for name, _ in queue.get_batch(1, 0.0))
    for buffer in buffers.values():
        buffer.close()
    queue.seal()
    got.update(name for name, _ in drain(queue, 4))
    for name in ("slow0", "slow1", "slow2", "slow3"):
        assert got[name] == 20
    assert abs(got["fast0"] - got["fast1"]) <= 2
    for name in ("fast0", "fast1"):
        stats = buffers[name].stats()
        assert stats.accepted == 400
        assert stats.dropped[SUPERSEDED] == 400 - got[name]
        assert got[name] > 40


def feed(buffer: SourceBuffer[Item], items: int) -> None:
    for n in range(items):
        buffer.put((buffer.name, n))
    buffer.close()


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(
        st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 30)), min_size=1, max_size=4
    ),
    max_items=st.integers(1, 5),
)
def test_every_frame_is_taken_or_counted(
    sources: list[tuple[bool, int, int]], max_items: int
) -> None:
    queue: SourceQueue[Item] = SourceQueue()
    buffers = [
        queue.open(str(number), live=live, capacity=capacity)
        for number, (live, capacity, _) in enumerate(sources)
    ]
    queue.seal()
    with ThreadPoolExecutor(len(sources) + 1) as pool:
        out = pool.submit(drain, queue, max_items)
        for buffer, (_, _, items) in zip(buffers, sources, strict=True):
            pool.submit(feed, buffer, items)
        got = out.result(timeout=30)
    assert len(set(got)) == len(got)
    for buffer, (live, _, items) in zip(buffers, sources, strict=True):
        mine = [n for name, n in got if name == buffer.name]
        assert mine == sorted(mine)
        stats = buffer.stats()
        assert stats.accepted == items
        assert stats.taken == len(mine)
        assert stats.accepted == stats.taken + sum(stats.dropped.values())
        if not live:
            assert mine == list(range(items))
        elif items:
            assert mine[-1] == items - 1  # the newest always gets through
    assert queue.stats().depth == 0
