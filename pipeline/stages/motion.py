"""Where followed faces are expected next: a Kalman filter of constant velocity, all faces at once.

Each face has four independent coordinates: the centre's x and y in pixels, the logarithm of the
box's side (√ of its area) and of its aspect ratio. Each coordinate is a filter of two states,
value and velocity, in closed form: numpy does all faces in one go, where a matrix filter a face
costs a hundred times as much (benchmarks/tracker.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Floats

Numbers = NDArray[np.float64]

# Standard deviations; of the centre in units of the face's side, of the others as they are
# (logarithms). A walking head crosses the picture at up to six sides a second. Chosen on scenes of
# benchmarks/tracker.py with other seeds than those reported.
MEASUREMENT = np.array([0.1, 0.1, 0.1, 0.08])
FIRST_SPEED = np.array([3.0, 2.0, 0.4, 0.1])  # a second
ACCELERATION = np.array([10.0, 10.0, 1.0, 0.15])  # a second²
# Nobody walks on for ever unseen: the motion of a face that is not found fades in this time.
FADE_SECONDS = 1.0


class Motion:
    """The motion of T faces, a row each. Not thread-safe.

    Attributes:
        box: T×4 float32, as detected last.
        at: T, presentation time of that in seconds.
    """

    def __init__(self) -> None:
        self.box: Floats = np.zeros((0, 4), np.float32)
        self.at: Numbers = np.zeros(0)
        self._value: Numbers = np.zeros((0, 4))
        self._speed: Numbers = np.zeros((0, 4))
        # Variances of value and speed and their covariance, T×4 each.
        self._vv: Numbers = np.zeros((0, 4))
        self._vs: Numbers = np.zeros((0, 4))
        self._ss: Numbers = np.zeros((0, 4))

    def __len__(self) -> int:
        return len(self.at)

    def add(self, boxes: Floats, at: float) -> None:
        """Begin a row for each of the boxes N×4."""
        value, unit = coordinates(boxes)
        self.box = np.concatenate([self.box, boxes])
        self.at = np.concatenate([self.at, np.full(len(boxes), at)])
        self._value = np.concatenate([self._value, value])
        self._speed = np.concatenate([self._speed, np.zeros_like(value)])
        self._vv = np.concatenate([self._vv, (MEASUREMENT * unit) ** 2])
        self._vs = np.concatenate([self._vs, np.zeros_like(value)])
        self._ss = np.concatenate([self._ss, (FIRST_SPEED * unit) ** 2])

    def keep(self, rows: NDArray[Any]) -> None:
        """Keep these rows (indices or a mask), in this order."""
        self.box, self.at = self.box[rows], self.at[rows]
        self._value, self._speed = self._value[rows], self._speed[rows]
        self._vv, self._vs, self._ss = self._vv[rows], self._vs[rows], self._ss[rows]

    def expected(self, at: float) -> Floats:
        """The boxes T×4 float32 expected at a time."""
        return _boxes(self._value + self._speed * _faded(at - self.at)[:, None])

    def forecast(self, at: float) -> tuple[Numbers, Numbers]:
        """Coordinates expected at a time, and the variances of a detection there: T×4 each."""
        passed = np.maximum(at - self.at, 0.0)[:, None]
        value = self._value + self._speed * _faded(at - self.at)[:, None]
        unit = units(value)
        vv, _, _ = self._moved(passed, unit)
        return value, vv + (MEASUREMENT * unit) ** 2

    def update(self, rows: NDArray[np.intp], boxes: Floats, at: float) -> None:
        """Take in the detections N×4 of these N rows."""
        passed = np.maximum(at - self.at[rows], 0.0)[:, None]
        seen, unit = coordinates(boxes)
        vv, vs, ss = (a[rows] for a in self._moved(np.maximum(at - self.at, 0.0)[:, None], None))
        value = self._value[rows] + self._speed[rows] * _faded(passed)
        total = vv + (MEASUREMENT * unit) ** 2
        gain, gain_speed = vv / total, vs / total
        surprise = seen - value
        self._value[rows] = value + gain * surprise
        self._speed[rows] += gain_speed * surprise
        self._vv[rows] = (1 - gain) * vv
        self._vs[rows] = (1 - gain) * vs
        self._ss[rows] = ss - gain_speed * vs
        self.box[rows], self.at[rows] = boxes, at

    def _moved(self, passed: Numbers, unit: Numbers | None) -> tuple[Numbers, Numbers, Numbers]:
        """The variances after so many seconds (T×1)."""
        push = (ACCELERATION * (units(self._value) if unit is None else unit)) ** 2
        vv = self._vv + 2 * passed * self._vs + passed**2 * self._ss + push * passed**4 / 4
        vs = self._vs + passed * self._ss + push * passed**3 / 2
        return vv, vs, self._ss + push * passed**2


def coordinates(boxes: Floats) -> tuple[Numbers, Numbers]:
    """Coordinates N×4 of boxes N×4, and the units their deviations are in."""
    box = boxes.astype(np.float64)
    size = np.maximum(box[:, 2:] - box[:, :2], 1.0)
    log = np.log(size)
    value = np.empty((len(box), 4))
    value[:, :2] = (box[:, :2] + box[:, 2:]) / 2
    value[:, 2] = log.mean(axis=1)
    value[:, 3] = log[:, 0] - log[:, 1]
    return value, units(value)


def units(value: Numbers) -> Numbers:
    """What a deviation of 1 is in each of these coordinates T×4: sides of the box, and 1."""
    unit = np.ones_like(value)
    unit[:, :2] = np.exp(value[:, 2:3])
    return unit


def _boxes(value: Numbers) -> Floats:
    half = np.exp(value[:, 2:3] + value[:, 3:4] * np.array([0.5, -0.5])) / 2
    return np.concatenate([value[:, :2] - half, value[:, :2] + half], axis=1).astype(np.float32)


def _faded(passed: Numbers) -> Numbers:
    """The time for which a motion is carried on, of the time that passed."""
    return FADE_SECONDS * -np.expm1(-np.maximum(passed, 0.0) / FADE_SECONDS)
