"""Shares of time: nobody starves, nothing idles, and costly sources get a lane of their own."""

from __future__ import annotations

import pytest
from facestream.pipeline.core.errors import Closed
from facestream.pipeline.runtime.channel import Channel, SharedOutlet
from facestream.pipeline.runtime.fair_share import Share, costly, next_of
from facestream.pipeline.runtime.source_queue import IN_FLIGHT, SourceQueue
from hypothesis import given, settings
from hypothesis import strategies as st

Costs = st.lists(st.floats(0.05, 2.0), min_size=2, max_size=6)


@settings(deadline=None, max_examples=50)
@given(Costs)
def test_backlogged_sources_get_equal_time_whatever_their_frames_cost(costs: list[float]) -> None:
    shares = [Share() for _ in costs]
    spent = [0.0] * len(costs)
    while sum(spent) < 10 * sum(costs):
        turn = next_of(shares)
        shares[turn].take()
        shares[turn].spent += costs[turn]
        shares[turn].settle()
        spent[turn] += costs[turn]
    fair = sum(spent) / len(costs)
    # A source is at most a frame of the others' ahead, and one of its own.
    assert min(spent) >= fair - 2 * max(costs)
    assert max(spent) <= fair + 2 * max(costs)


@settings(deadline=None, max_examples=50)
@given(Costs, st.lists(st.sampled_from(["idle", "busy"]), min_size=60, max_size=60))
def test_idling_earns_nothing_and_the_others_use_the_time(
    costs: list[float], states: list[str]
) -> None:
    shares = [Share() for _ in costs]
    clock, waits = 0.0, False
    for state in states:
        ready = shares if state == "busy" else shares[1:]
        if state == "busy" and not waits:
            shares[0].returns(clock)
            # What it had before it went idle is no credit against the others now.
            assert shares[0].had >= clock
        waits = state == "busy"
        share = ready[next_of(ready)]
        clock = max(clock, share.had)
        share.take()
        share.spent += costs[shares.index(share)]
        share.settle()
    assert clock > 0


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([0.02, 1.5], [False, True]),
        ([0.02, 1.5, 1.4, 1.6, 1.5], [False, True, True, True, True]),
        ([0.2, 0.25, 0.3, 0.28], [False] * 4),  # a slow machine
        ([0.001, 0.08, 0.03], [False] * 3),  # all cheap: a quiet picture is no reason
        ([0.0, 0.9], [False, False]),  # the first frame of a run takes longer
        ([0.0, 5.0], [False, True]),
        ([5.0], [False]),
        ([], []),
    ],
)
def test_sources_above_a_wide_gap_are_costly(costs: list[float], expected: list[bool]) -> None:
    assert costly(costs) == expected


def queue_of(*names: str) -> SourceQueue[str]:
    queue: SourceQueue[str] = SourceQueue()
    for name in names:
        queue.open(name, live=True)
    return queue


def fill(queue: SourceQueue[str]) -> None:
    for buffer in queue._buffers:
        buffer.put(buffer.name)


def test_a_source_with_costly_frames_gets_fewer_of_them() -> None:
    queue = queue_of("cheap", "dear")
    served = {"cheap": 0, "dear": 0}
    for _ in range(220):
        fill(queue)
        (name,) = queue.get_batch(1, 0)
        queue.charge(name, {"cheap": 0.01, "dear": 0.1}[name])
        served[name] += 1
    assert 8 <= served["cheap"] / served["dear"] <= 12
    # Without the other one it is served each time.
    for _ in range(5):
        queue._by_name["dear"].put("dear")
        while "dear" not in queue.get_batch(1, 0):
            pass


def test_sources_of_equal_cost_are_served_in_turn() -> None:
    queue = queue_of("a", "b", "c")
    seen: list[str] = []
    for _ in range(12):
        fill(queue)
        seen += queue.get_batch(1, 0)
        queue.charge(seen[-1], 0.05)
    assert seen == ["a", "b", "c"] * 4


def learn(queue: SourceQueue[str], costs: dict[str, float]) -> None:
    fill(queue)
    for name in queue.get_batch(len(costs), 0):
        queue.charge(name, costs[name])
    queue._release(queue._held)


def test_costly_sources_have_a_lane_of_their_own() -> None:
    queue = queue_of("good", "crowd")
    usual, other = queue.lanes(lambda name: queue._by_name[name].taken)
    learn(queue, {"good": 0.02, "crowd": 1.5})
    fill(queue)
    assert usual.get_batch(4, 0) == ["good"]
    assert other.get_batch(1, 0) == ["crowd"]
    # It stays there while a frame of it is under way, whatever was measured meanwhile.
    queue._by_name["crowd"]._share.cost = 0.02
    queue._sorted_at = 0
    fill(queue)
    assert usual.get_batch(4, 0) == ["good"]
    queue.charge("crowd", 0.001)
    queue._by_name["crowd"]._share.cost = 0.02
    assert other.get_batch(1, 0, timeout=0.01) == []
    assert usual.get_batch(4, 0) == ["crowd"]


def test_both_lanes_end_with_the_queue_and_nothing_is_lost() -> None:
    queue = queue_of("good", "crowd")
    usual, other = queue.lanes(lambda name: queue._by_name[name].taken)
    learn(queue, {"good": 0.02, "crowd": 1.5})
    fill(queue)
    queue.close()
    assert usual.get_batch(4, 0) == ["good"]
    assert other.get_batch(1, 0) == ["crowd"]
    with pytest.raises(Closed):
        usual.get_batch(4, 0)
    usual.close(discard=True)
    assert not other.aborted
    with pytest.raises(Closed):
        other.get_batch(1, 0)


def test_a_lane_that_closes_early_aborts_the_queue() -> None:
    queue = queue_of("good")
    usual, other = queue.lanes(lambda name: queue._by_name[name].taken)
    other.close(discard=True)
    assert usual.aborted


def test_a_shared_outlet_closes_with_its_last_writer() -> None:
    channel: Channel[int] = Channel(4, "found")
    outlet: SharedOutlet[int] = SharedOutlet(channel, writers=2)
    outlet.close()
    outlet.put_all([1])
    outlet.close()
    assert channel.get() == 1
    with pytest.raises(Closed):
        channel.get()


def test_a_writer_that_discards_aborts_a_shared_outlet() -> None:
    channel: Channel[int] = Channel(4, "found")
    SharedOutlet(channel, writers=2).close(discard=True)
    assert channel.aborted


def test_a_live_source_waits_where_its_frames_stay_new() -> None:
    queue = queue_of("good")
    done = {"good": 0}
    usual, _ = queue.lanes(lambda name: done[name])
    for index in range(IN_FLIGHT):
        fill(queue)
        assert usual.get_batch(4, 0) == ["good"], index
    fill(queue)
    assert usual.get_batch(4, 0, timeout=0.01) == []
    done["good"] += 1
    queue.wake()
    assert usual.get_batch(4, 0) == ["good"]
