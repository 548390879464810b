"""Channels: bounded, first in first out, closed from either side."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from facestream.pipeline.core.errors import Closed
from facestream.pipeline.runtime.channel import Channel
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import wait_until


def drain(channel: Channel[int], max_items: int) -> list[int]:
    got: list[int] = []
    while True:
        try:
            got += channel.get_batch(max_items, 0.0)
        except Closed:
            return got


def test_keeps_order_and_counts() -> None:
    channel: Channel[int] = Channel(3, "numbers")
    for n in range(3):
        channel.put(n)
    assert [channel.get(), channel.get()] == [0, 1]
    stats = channel.stats()
    assert (stats.depth, stats.high_water, stats.passed) == (1, 3, 2)
    assert stats.name == "numbers"


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Channel[int](0, "none")


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_items"):
        Channel[int](1, "c").get_batch(0, 0)


def test_put_and_get_time_out() -> None:
    channel: Channel[int] = Channel(1, "c")
    with pytest.raises(TimeoutError, match="'c' stayed empty"):
        channel.get(timeout=0.01)
    channel.put(1)
    with pytest.raises(TimeoutError, match="'c' stayed full"):
        channel.put(2, timeout=0.01)
    assert channel.get() == 1
    assert channel.stats().blocked_seconds > 0
    assert channel.stats().waited_seconds > 0


def test_close_drains() -> None:
    channel: Channel[int] = Channel(4, "c")
    channel.put_all([1, 2, 3])
    channel.close()
    with pytest.raises(Closed):
        channel.put(4)
    assert channel.closed
    assert not channel.aborted
    assert channel.get_batch(2, 10.0) == [1, 2]
    assert channel.get_batch(2, 10.0) == [3]
    with pytest.raises(Closed, match="'c' has ended"):
        channel.get()


def test_discard_throws_away_what_waits() -> None:
    channel: Channel[int] = Channel(4, "c")
    channel.put_all([1, 2, 3])
    channel.close()
    channel.close(discard=True)
    channel.close()
    assert channel.aborted
    assert channel.stats().discarded == 3
    with pytest.raises(Closed):
        channel.get_batch(4, 0)


@pytest.mark.parametrize("discard", [False, True])
def test_close_wakes_blocked_put(discard: bool) -> None:
    channel: Channel[int] = Channel(1, "c")
    channel.put(0)
    with ThreadPoolExecutor() as pool:
        puts = [pool.submit(channel.put, n) for n in (1, 2)]
        wait_until(lambda: len(channel._not_full._waiters) == 2)  # type: ignore[attr-defined]
        channel.close(discard=discard)
        for put in puts:
            with pytest.raises(Closed):
                put.result(timeout=10)
    assert channel.depth == (0 if discard else 1)


@pytest.mark.parametrize("discard", [False, True])
def test_close_wakes_blocked_gets(discard: bool) -> None:
    channel: Channel[int] = Channel(1, "c")
    with ThreadPoolExecutor() as pool:
        gets: list[Future[Any]] = [
            pool.submit(channel.get),
            pool.submit(channel.get_batch, 4, 60.0),
        ]
        wait_until(lambda: len(channel._not_empty._waiters) == 2)  # type: ignore[attr-defined]
        channel.close(discard=discard)
        for get in gets:
            with pytest.raises(Closed):
                get.result(timeout=10)


def test_batch_lingers_for_more_and_frees_room_meanwhile() -> None:
    channel: Channel[int] = Channel(1, "c")
    with ThreadPoolExecutor() as pool:
        batch = pool.submit(channel.get_batch, 3, 60.0)
        for n in range(3):
            channel.put(n, timeout=10)  # capacity 1: the lingering reader takes them one by one
        assert batch.result(timeout=10) == [0, 1, 2]


def test_close_ends_lingering_with_what_there_is() -> None:
    channel: Channel[int] = Channel(4, "c")
    with ThreadPoolExecutor() as pool:
        channel.put(7)
        batch = pool.submit(channel.get_batch, 3, 60.0)
        wait_until(lambda: channel.depth == 0)
        channel.close()
        assert batch.result(timeout=10) == [7]


def test_abort_ends_lingering_with_closed() -> None:
    channel: Channel[int] = Channel(4, "c")
    with ThreadPoolExecutor() as pool:
        channel.put(7)
        batch = pool.submit(channel.get_batch, 3, 60.0)
        wait_until(lambda: channel.depth == 0)
        channel.close(discard=True)
        with pytest.raises(Closed, match="aborted"):
            batch.result(timeout=10)
    assert channel.stats().discarded == 1


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 4),
    producers=st.integers(1, 3),
    consumers=st.integers(1, 3),
    items=st.integers(0, 40),
    chunk=st.integers(1, 6),
    max_items=st.integers(1, 5),
)
def test_nothing_lost_nothing_twice(
    capacity: int, producers: int, consumers: int, items: int, chunk: int, max_items: int
) -> None:
    channel: Channel[int] = Channel(capacity, "c")

    def produce(number: int) -> None:
        mine = list(range(number * 1000, number * 1000 + items))
        for at in range(0, items, chunk):
            channel.put_all(mine[at : at + chunk])

    with ThreadPoolExecutor(producers + consumers) as pool:
        outs = [pool.submit(drain, channel, max_items) for _ in range(consumers)]
        for done in [pool.submit(produce, number) for number in range(producers)]:
            done.result(timeout=30)
        channel.close()
        got = [out.result(timeout=30) for out in outs]
    everything = [n * 1000 + i for n in range(producers) for i in range(items)]
    assert sorted(item for out in got for item in out) == everything
    for out in got:  # what one reader sees of one writer is in order
        for number in range(producers):
            mine = [item for item in out if item // 1000 == number]
            assert mine == sorted(mine)
    stats = channel.stats()
    assert stats.passed == len(everything)
    assert stats.high_water <= capacity
    assert stats.depth == 0
