"""The interval between searched frames, and what scales with it."""

from __future__ import annotations

from math import inf

import pytest
from facestream.pipeline.tracking.interval import SearchInterval


def interval(*steps: float) -> SearchInterval:
    found, at = SearchInterval(), 100.0
    found.add(at)
    for step in steps:
        at += step
        found.add(at)
    return found


@pytest.mark.parametrize(
    ("seconds", "least_faces", "confirm", "absence"),
    [
        (0.04, 3, 2, 1.0),
        (0.32, 3, 2, 1.0),  # every eighth frame
        (0.5, 2, 2, 1.25),
        (1.0, 1, 1, 2.5),
        (0.9999, 1, 1, 2.5),
        (5.0, 1, 1, 12.5),
    ],
)
def test_counts_and_absence_scale(
    seconds: float, least_faces: int, confirm: int, absence: float
) -> None:
    found = interval(*[seconds] * 4)
    assert (found.scaled(3), found.scaled(2)) == (least_faces, confirm)
    assert found.absence(1.0) == pytest.approx(absence, abs=0.01)


def test_before_the_second_frame_nothing_is_lost_and_nothing_is_lowered() -> None:
    assert interval().scaled(3) == 3
    assert interval().absence(1.0) == inf


def test_a_gap_changes_nothing_and_another_rate_does() -> None:
    assert interval(*[0.04] * 5, 30.0, 0.04).absence(1.0) == 1.0
    assert interval(*[0.04] * 20, *[5.0] * 5).scaled(3) == 1


def test_few_frames_before_the_end_count_like_photos() -> None:
    short, long = interval(0.04), interval(0.04, 0.04)
    for found in (short, long):
        found.end(least=3)
    assert (short.scaled(3), long.scaled(3)) == (1, 3)
    short.add(200.0)  # it goes on after a silence
    assert short.seconds > 0
    assert short.seconds < inf
