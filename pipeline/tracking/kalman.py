"""Where tracked faces are expected next: a Kalman filter of constant velocity, all faces at once.

Each face has four independent coordinates: the centre's x and y in pixels, the logarithm of the
box's side (√ of its area) and of its aspect ratio. Each coordinate is a filter of two states,
value and velocity, in closed form: numpy does all faces in one go, where a matrix filter a face
costs a hundred times as much (benchmarks/suites/track.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats

Numbers = NDArray[np.float64]

# Standard deviations; of the centre in units of the face's side, of the others as they are
# (logarithms). A walking head crosses the picture at up to six sides a second. Chosen on scenes of
# benchmarks/suites/track.py with other seeds than those reported.
MEASUREMENT = np.array([0.1, 0.1, 0.1, 0.08])
FIRST_SPEED = np.array([3.0, 2.0, 0.4, 0.1])  # a second
ACCELERATION = np.array([10.0, 10.0, 1.0, 0.15])  # a second²
# The motion of a face that is not found fades in this time.
FADE_SECONDS = 1.0


class _Ahead(NamedTuple):
    """The state of T faces at a time to come; T×4 each but ``at``."""

    at: float
    value: Numbers
    vv: Numbers
    vs: Numbers
    ss: Numbers
    unit: Numbers  # squared


class Motion:
    """The motion of T faces, a row each. Not thread-safe."""

    def __init__(self) -> None:
        self._at: Numbers = np.zeros(0)
        self._value: Numbers = np.zeros((0, 4))
        self._speed: Numbers = np.zeros((0, 4))
        # Variances of value and speed and their covariance, T×4 each.
        self._vv: Numbers = np.zeros((0, 4))
        self._vs: Numbers = np.zeros((0, 4))
        self._ss: Numbers = np.zeros((0, 4))
        # The last prediction: pairing and updating need it for the same time.
        self._ahead: _Ahead | None = None

    def __len__(self) -> int:
        return len(self._at)

    @property
    def at(self) -> Numbers:
        """T, presentation time of each face's last detection in seconds."""
        return self._at

    def add(self, boxes: Floats, at: float) -> None:
        """Begin a row for each of the boxes N×4."""
        self._ahead = None
        value = coordinates(boxes)
        unit, still = units(value), np.zeros_like(value)
        self._at = np.concatenate([self._at, np.full(len(boxes), at)])
        self._value = np.concatenate([self._value, value])
        self._speed = np.concatenate([self._speed, still])
        self._vv = np.concatenate([self._vv, MEASUREMENT**2 * unit])
        self._vs = np.concatenate([self._vs, still])
        self._ss = np.concatenate([self._ss, FIRST_SPEED**2 * unit])

    def keep(self, rows: NDArray[Any]) -> None:
        """Keep these rows (indices or a mask), in this order."""
        self._ahead = None
        self._at, self._value, self._speed = self._at[rows], self._value[rows], self._speed[rows]
        self._vv, self._vs, self._ss = self._vv[rows], self._vs[rows], self._ss[rows]

    def expected(self, at: float) -> Floats:
        """The boxes T×4 float32 expected at a time."""
        return _boxes(self._look_ahead(at).value)

    def forecast(self, at: float) -> tuple[Numbers, Numbers, Numbers]:
        """Expected `coordinates`, variances of a detection there and `units` squared, T×4 each."""
        ahead = self._look_ahead(at)
        return ahead.value, ahead.vv + MEASUREMENT**2 * ahead.unit, ahead.unit

    def update(self, rows: NDArray[np.intp], boxes: Floats, at: float) -> None:
        """Take in the detections N×4 of these N rows."""
        _, value, vv, vs, ss, _ = self._look_ahead(at)
        value, vv, vs, ss = value[rows], vv[rows], vs[rows], ss[rows]
        self._ahead = None
        seen = coordinates(boxes)
        total = vv + MEASUREMENT**2 * units(seen)
        gain, gain_speed = vv / total, vs / total
        surprise = seen - value
        self._value[rows] = value + gain * surprise
        self._speed[rows] += gain_speed * surprise
        self._vv[rows] = vv - gain * vv
        self._vs[rows] = vs - gain * vs
        self._ss[rows] = ss - gain_speed * vs
        self._at[rows] = at

    def _look_ahead(self, at: float) -> _Ahead:
        ahead = self._ahead
        if ahead is None or ahead.at != at:
            t = np.maximum(at - self._at, 0.0)[:, None]
            faded = -FADE_SECONDS * np.expm1(t / -FADE_SECONDS)
            value = self._value + self._speed * faded
            unit = units(value)
            push = ACCELERATION**2 * unit * t**2
            vv = self._vv + t * (2 * self._vs + t * (self._ss + push / 4))
            vs = self._vs + t * (self._ss + push / 2)
            ahead = self._ahead = _Ahead(at, value, vv, vs, self._ss + push, unit)
        return ahead


def coordinates(boxes: Floats) -> Numbers:
    """Coordinates N×4 of boxes N×4."""
    box = boxes.astype(np.float64)
    value = np.empty_like(box)
    value[:, :2] = (box[:, :2] + box[:, 2:]) / 2
    log = np.log(np.maximum(box[:, 2:] - box[:, :2], 1.0))
    value[:, 2] = (log[:, 0] + log[:, 1]) / 2
    value[:, 3] = log[:, 0] - log[:, 1]
    return value


def units(value: Numbers) -> Numbers:
    """Squares of what a deviation of 1 is in these coordinates T×4: the box's sides, and 1."""
    unit = np.ones_like(value)
    unit[:, :2] = np.exp(2 * value[:, 2:3])
    return unit


def _boxes(value: Numbers) -> Floats:
    half = np.exp(value[:, 2:3] + value[:, 3:4] * np.array([0.5, -0.5])) / 2
    return np.concatenate([value[:, :2] - half, value[:, :2] + half], axis=1).astype(np.float32)
