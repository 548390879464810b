"""The inbox: a lane per source, fair turns, drops only in live lanes and all counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from facestream.pipeline.core.errors import Closed
from facestream.pipeline.runtime.source_queue import (
    DISCARDED,
    SUPERSEDED,
    Inbox,
    Lane,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import wait_until

Item = tuple[str, int]


def put_all(lane: Lane[int], items: Iterable[int]) -> None:
    for item in items:
        lane.put(item)


def drain(inbox: Inbox[Item], max_items: int) -> list[Item]:
    got: list[Item] = []
    while True:
        try:
            got += inbox.get_batch(max_items, 0.0)
        except Closed:
            return got


def test_live_lane_keeps_the_newest() -> None:
    inbox: Inbox[int] = Inbox()
    lane = inbox.open("camera", live=True)
    for n in range(5):
        lane.put(n)
    assert inbox.get_batch(8, 0) == [4]
    stats = lane.stats()
    assert stats.dropped == {SUPERSEDED: 4}
    assert (stats.accepted, stats.taken, stats.depth) == (5, 1, 0)


def test_file_lane_blocks_and_never_drops() -> None:
    inbox: Inbox[int] = Inbox()
    lane = inbox.open("file", live=False, capacity=2)
    with ThreadPoolExecutor() as pool:
        puts = pool.submit(put_all, lane, range(3))
        wait_until(lambda: len(lane._not_full._waiters) == 1)  # type: ignore[attr-defined]
        assert inbox.depth == 2
        assert inbox.get_batch(1, 0) == [0]
        puts.result(timeout=10)
    lane.close()
    inbox.seal()
    assert inbox.get_batch(8, 0) == [1, 2]
    with pytest.raises(Closed, match="ended"):
        inbox.get_batch(1, 0)
    assert lane.stats().dropped == {}
    assert lane.stats().blocked_seconds > 0
    assert inbox.stats().blocked_seconds == lane.stats().blocked_seconds


def test_lanes_take_turns() -> None:
    inbox: Inbox[str] = Inbox()
    lanes = [inbox.open(name, live=False) for name in "abc"]
    for lane in lanes:
        for n in range(3):
            lane.put(f"{lane.name}{n}")
    assert inbox.get_batch(4, 0) == ["a0", "b0", "c0", "a1"]
    assert inbox.get_batch(5, 0) == ["b1", "c1", "a2", "b2", "c2"]


def test_ends_only_when_sealed_and_every_lane_is_done() -> None:
    inbox: Inbox[int] = Inbox()
    one = inbox.open("one", live=False)
    one.put(1)
    one.close()
    assert inbox.get_batch(1, 0) == [1]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(inbox.get_batch, 1, 0.0)
        two = inbox.open("two", live=False)  # not sealed: more sources may come
        inbox.seal()
        two.put(2)
        assert waiting.result(timeout=10) == [2]
        waiting = pool.submit(inbox.get_batch, 1, 0.0)
        two.close()
        with pytest.raises(Closed):
            waiting.result(timeout=10)
    with pytest.raises(Closed, match="sealed"):
        inbox.open("three", live=False)


def test_lingers_for_other_lanes() -> None:
    inbox: Inbox[int] = Inbox()
    one, two = inbox.open("one", live=True), inbox.open("two", live=True)
    inbox.seal()
    with ThreadPoolExecutor() as pool:
        one.put(1)
        batch = pool.submit(inbox.get_batch, 2, 60.0)
        wait_until(lambda: inbox.depth == 0)
        two.put(2)
        assert batch.result(timeout=10) == [1, 2]
        one.put(3)
        batch = pool.submit(inbox.get_batch, 2, 60.0)
        wait_until(lambda: inbox.depth == 0)
        one.close()
        two.close()  # nobody can add to the batch any more
        assert batch.result(timeout=10) == [3]


def test_abort_wakes_everybody_and_counts() -> None:
    inbox: Inbox[int] = Inbox()
    full, empty = (
        inbox.open("full", live=False, capacity=1),
        inbox.open("empty", live=False, capacity=1),
    )
    full.put(1)
    with ThreadPoolExecutor() as pool:
        put = pool.submit(full.put, 2)
        wait_until(lambda: len(full._not_full._waiters) == 1)  # type: ignore[attr-defined]
        inbox.close(discard=True)
        with pytest.raises(Closed, match="'full' is closed"):
            put.result(timeout=10)
    assert inbox.aborted
    assert full.stats().dropped == {DISCARDED: 1}
    with pytest.raises(Closed):
        inbox.get_batch(1, 0)
    with pytest.raises(Closed):
        empty.put(3)


def test_one_lane_may_be_discarded_alone() -> None:
    inbox: Inbox[str] = Inbox()
    bad, good = inbox.open("bad", live=False), inbox.open("good", live=False)
    bad.put("x")
    good.put("y")
    bad.close(discard=True)
    good.close()
    inbox.seal()
    assert drain_strings(inbox) == ["y"]


def drain_strings(inbox: Inbox[str]) -> list[str]:
    got: list[str] = []
    while True:
        try:
            got += inbox.get_batch(4, 0.0)
        except Closed:
            return got


def test_bad_sizes() -> None:
    inbox: Inbox[int] = Inbox()
    with pytest.raises(ValueError, match="'x' must be at least 1"):
        inbox.open("x", live=True, capacity=0)
    with pytest.raises(ValueError, match="max_items"):
        inbox.get_batch(0, 0)


def test_fast_cameras_do_not_starve_slow_ones() -> None:
    """Two cameras at 200 fps, four at 10 fps, compute for 100 fps: simulated by the millisecond."""
    inbox: Inbox[Item] = Inbox()
    rates = {"fast0": 200, "fast1": 200, "slow0": 10, "slow1": 10, "slow2": 10, "slow3": 10}
    lanes = {name: inbox.open(name, live=True) for name in rates}
    got: Counter[str] = Counter()
    for tick in range(2000):  # milliseconds
        for name, rate in rates.items():
            if tick % (1000 // rate) == 0:
                lanes[name].put((name, tick))
        if tick % 10 == 9:
            got.update(name for name, _ in inbox.get_batch(1, 0.0))
    for lane in lanes.values():
        lane.close()
    inbox.seal()
    got.update(name for name, _ in drain(inbox, 4))
    for name in ("slow0", "slow1", "slow2", "slow3"):
        assert got[name] == 20
    assert abs(got["fast0"] - got["fast1"]) <= 2
    for name in ("fast0", "fast1"):
        stats = lanes[name].stats()
        assert stats.accepted == 400
        assert stats.dropped[SUPERSEDED] == 400 - got[name]
        assert got[name] > 40


def feed(lane: Lane[Item], items: int) -> None:
    for n in range(items):
        lane.put((lane.name, n))
    lane.close()


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
    inbox: Inbox[Item] = Inbox()
    lanes = [
        inbox.open(str(number), live=live, capacity=capacity)
        for number, (live, capacity, _) in enumerate(sources)
    ]
    inbox.seal()
    with ThreadPoolExecutor(len(sources) + 1) as pool:
        out = pool.submit(drain, inbox, max_items)
        for lane, (_, _, items) in zip(lanes, sources, strict=True):
            pool.submit(feed, lane, items)
        got = out.result(timeout=30)
    assert len(set(got)) == len(got)
    for lane, (live, _, items) in zip(lanes, sources, strict=True):
        mine = [n for name, n in got if name == lane.name]
        assert mine == sorted(mine)
        stats = lane.stats()
        assert stats.accepted == items
        assert stats.taken == len(mine)
        assert stats.accepted == stats.taken + sum(stats.dropped.values())
        if not live:
            assert mine == list(range(items))
        elif items:
            assert mine[-1] == items - 1  # the newest always gets through
    assert inbox.stats().depth == 0
