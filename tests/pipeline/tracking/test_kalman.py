"""The Kalman filter against its matrix form, and the association it serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core.types import Floats
from facestream.pipeline.tracking.association import associate
from facestream.pipeline.tracking.kalman import ACCELERATION, FIRST_SPEED, MEASUREMENT, Motion
from facestream.pipeline.tracking.tracker import SourceTracker
from numpy.typing import NDArray


def boxes(*rows: tuple[float, float, float]) -> Floats:
    """Square boxes by centre and side."""
    return np.array([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for x, y, s in rows], np.float32)


def followed(*steps: tuple[float, Floats]) -> Motion:
    """The motion of faces found at these times."""
    motion = Motion()
    (at, first), *rest = steps
    motion.add(first, at)
    for at, found in rest:
        motion.update(np.arange(len(found)), found, at)
    return motion


def test_one_coordinate_agrees_with_the_matrix_form() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.1, 20))
    places = 300 + np.cumsum(rng.normal(0, 4, 20))
    side = 50.0
    motion = followed(*((t, boxes((x, 80, side))) for t, x in zip(times, places, strict=True)))
    state: NDArray[Any] = np.array([places[0], 0.0])
    spread = np.diag([(MEASUREMENT[0] * side) ** 2, (FIRST_SPEED[0] * side) ** 2])
    for before, now, seen in zip(times, times[1:], places[1:], strict=False):
        dt = now - before
        step = np.array([[1, dt], [0, 1]])
        push = np.outer([dt**2 / 2, dt], [dt**2 / 2, dt]) * (ACCELERATION[0] * side) ** 2
        # The filter lets a motion fade; over these steps that is little.
        state, spread = step @ state, step @ spread @ step.T + push
        gain = spread[:, 0] / (spread[0, 0] + (MEASUREMENT[0] * side) ** 2)
        state = state + gain * (seen - state[0])
        spread = spread - np.outer(gain, spread[0])
    value, variance, _ = motion.forecast(times[-1] + 0.04)
    ahead = np.array([[1, 0.04], [0, 1]])
    push = np.outer([0.0008, 0.04], [0.0008, 0.04]) * (ACCELERATION[0] * side) ** 2
    expected = (ahead @ spread @ ahead.T + push)[0, 0] + (MEASUREMENT[0] * side) ** 2
    assert value[0, 0] == pytest.approx((ahead @ state)[0], abs=1.0)
    assert variance[0, 0] == pytest.approx(expected, rel=0.01)


def test_a_box_survives_the_way_through_the_filter() -> None:
    box = np.array([[10, 20, 50, 90]], np.float32)
    np.testing.assert_allclose(followed((0.0, box)).expected(0.0), box, atol=1e-3)


def test_a_moving_face_is_expected_further_on_and_comes_to_rest_unseen() -> None:
    motion = followed(*((i / 25, boxes((100 + 4 * i, 60, 40))) for i in range(25)))
    (soon,), (late,), (never,) = (motion.expected(0.96 + t) for t in (0.08, 2.0, 60.0))
    centre = 196 - 20  # of the left edge
    assert soon[0] == pytest.approx(centre + 8, abs=3)
    assert late[0] < centre + 100
    assert never[0] - late[0] < 20


def test_rows_are_kept_in_order() -> None:
    motion = followed((0.0, boxes((10, 10, 20), (50, 50, 20), (90, 90, 20))))
    motion.keep(np.array([2, 0]))
    np.testing.assert_allclose(motion.expected(0.0)[:, 0], [80, 0], atol=1e-3)
    motion.keep(np.zeros(0, np.intp))
    assert len(motion) == 0
    assert motion.expected(1.0).shape == (0, 4)


def test_a_walking_face_is_found_again_after_a_long_gap() -> None:
    """Eight frames of 25 a second lie between: three sides a second are nearly a side."""
    motion = followed((0.0, boxes((100, 100, 50))))
    pairs, ambiguous = associate(motion, boxes((148, 104, 52)), at=0.32, min_iou=0.3)
    assert (pairs, ambiguous) == ([(0, 0)], set())


@pytest.mark.parametrize("other", [(400, 100, 50), (105, 100, 140)])
def test_what_cannot_be_the_face_is_not_taken(other: tuple[float, float, float]) -> None:
    motion = followed((0.0, boxes((100, 100, 50))), (0.04, boxes((100, 100, 50))))
    assert associate(motion, boxes(other), at=0.08, min_iou=0.5).pairs == []


def test_the_likeliest_pairing_as_a_whole_wins() -> None:
    still = boxes((100, 100, 40), (110, 100, 40))
    motion = followed(*((i / 25, still) for i in range(5)))
    pairs, ambiguous = associate(motion, boxes((110, 100, 40), (99, 100, 40)), at=0.2, min_iou=0.3)
    assert sorted(pairs) == [(0, 1), (1, 0)]
    assert ambiguous == {0, 1}


def test_nothing_to_pair() -> None:
    assert associate(Motion(), boxes((1, 1, 9)), at=0.0, min_iou=0.3).pairs == []
    empty = np.zeros((0, 4), np.float32)
    assert associate(followed((0.0, boxes((1, 1, 9)))), empty, at=0.0, min_iou=0.3).pairs == []


def test_followers_expire_also_when_time_runs_backwards() -> None:
    tracker = SourceTracker(min_iou=0.3, absence_seconds=1.0)
    tracker.associate(boxes((100, 100, 50)), at=9.9)
    (first,) = tracker.associate(boxes((100, 100, 50)), at=10.0)
    assert tracker.expire(10.9) == []
    assert tracker.expire(11.1) == [first]
    (second,) = tracker.associate(boxes((100, 100, 50)), at=12.0)
    assert tracker.expire(3.0) == [second]
    assert tracker.tracklets == []
