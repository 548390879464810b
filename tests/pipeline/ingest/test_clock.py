"""Times of frames: they go on, whatever the stream's clock does."""

from __future__ import annotations

import itertools

import pytest
from facestream.pipeline.sources.clock import LARGEST_GAP, FileClock, LiveClock
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.one_of(st.none(), st.floats(-1e6, 1e6), st.floats(0, 20))


def test_a_steady_stream_keeps_its_own_times() -> None:
    clock = LiveClock()
    late = [0.0, 0.05, 0.3, 0.31, 0.32]  # the network holds some back
    stamps = [clock.stamp(50 + n * 0.04, 100 + late[n]) for n in range(5)]
    assert stamps == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])


def test_a_wrap_or_a_jump_takes_the_time_that_passed_here() -> None:
    clock = LiveClock()
    wrap = 2**33 / 90000
    assert clock.stamp(wrap - 0.04, 10.0) == 0
    assert clock.stamp(0.0, 10.05) == pytest.approx(0.05)  # backwards
    assert clock.stamp(0.04, 10.10) == pytest.approx(0.09)
    assert clock.stamp(5000.0, 10.15) == pytest.approx(0.14)  # far forwards
    assert clock.stamp(5000.04, 10.20) == pytest.approx(0.18)


def test_a_pause_that_both_clocks_saw_is_no_jump() -> None:
    clock = LiveClock()
    clock.stamp(0.0, 0.0)
    assert clock.stamp(60.0, 60.5) == pytest.approx(60.0)
    assert clock.stamp(65.0, 60.6) == pytest.approx(65.0)  # held back, then sent at once


def test_a_new_connection_goes_on_by_the_time_that_passed() -> None:
    clock = LiveClock()
    clock.stamp(7.0, 100.0)
    clock.stamp(7.04, 100.04)
    clock.reconnected()
    assert clock.stamp(7.08, 130.04) == pytest.approx(30.04)
    assert clock.stamp(7.12, 130.08) == pytest.approx(30.08)


def test_a_first_frame_without_a_time_is_one_period_before_the_second() -> None:
    clock = LiveClock()
    assert clock.stamp(None, 1.0, period=0.04) == 0
    assert clock.stamp(0.04, 1.0, period=0.04) == pytest.approx(0.04)
    assert clock.stamp(0.08, 1.0, period=0.04) == pytest.approx(0.08)


def test_without_any_times_the_arrival_counts() -> None:
    clock = LiveClock()
    assert [clock.stamp(None, 5 + n) for n in range(3)] == [0, 1, 2]


@given(st.lists(st.tuples(TIMES, st.floats(0, 5), st.booleans()), max_size=50))
def test_live_times_always_rise(frames: list[tuple[float | None, float, bool]]) -> None:
    clock, arrived, stamps = LiveClock(), 1000.0, []
    for time, passed, again in frames:
        arrived += passed
        if again:
            clock.reconnected()
        stamps.append(clock.stamp(time, arrived))
    steps = [b - a for a, b in itertools.pairwise(stamps)]
    assert all(0 < step <= 5 + LARGEST_GAP + 1e-6 for step in steps)


@given(st.lists(TIMES, max_size=50))
def test_file_times_never_fall(times: list[float | None]) -> None:
    clock = FileClock(0.0, 0.04)
    stamps = [clock.stamp(time) for time in times]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("jump", [3600.0, 1e5])
def test_a_jump_of_what_was_sent_is_left_out(jump: float) -> None:
    clock = FileClock(2.0, 0.5, jumps=True)
    times = [2.0, 2.5, 3.0, 3.5 + jump, 4.0 + jump, 4.5 + jump, 5.0]
    assert [clock.stamp(time) for time in times] == pytest.approx([n / 2 for n in range(7)])


def test_a_gap_of_a_file_and_the_steps_of_a_time_lapse_stay() -> None:
    assert [FileClock(0.0, 0.04).stamp(time) for time in (0.0, 3600.0)] == [0.0, 3600.0]
    lapse = FileClock(0.0, 60.0, jumps=True)
    assert [lapse.stamp(60.0 * n) for n in range(4)] == [0.0, 60.0, 120.0, 180.0]


def test_a_pipe_that_was_silent_for_an_hour_goes_on_an_hour_later() -> None:
    clock = FileClock(0.0, 0.04, jumps=True)
    clock.stamp(0.0)
    assert clock.stamp(3600.0, passed=3599.0) == 3600.0
