"""Whether the landmarks of a track move as those of one plane: a picture of a face.

A plane that moves, turns and comes nearer maps its points by affinities, nearly. The nose of a head
that turns lies in front of the eyes and the mouth, and moves against them: parallax. Each set of
landmarks is mapped to a template by its best affinity; what remains is the same for every view of
one plane, up to the detector's noise, and changes with a head that turns or talks.
"""

from __future__ import annotations

from math import atan2, hypot, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats
from .embedding_schedule import pose_of

# The remainders of a plane spread by 0.010 to 0.026 (root mean square, in distances of the eyes):
# portraits that were held, tilted by 25 degrees and moved to and fro. Those of people who talk or
# walk spread by 0.036 to 0.07 in four seconds.
FLAT_SPREAD = 0.025
# From here on it is no plane: twice that.
DEEP_SPREAD = 0.05
# Someone who listens holds still for two seconds as well as a picture does.
MOVED_SECONDS = 4.0
# A scene without motion shows nothing but the detector's noise: only time counts there.
STILL_SECONDS = 20.0
LEAST_SETS = 20
# Spread of place, size and turn in the picture (in distances of the eyes, as a part, in radians)
# from which the face moved. Without motion they spread by less than 0.02.
MOTION = 0.05
# Between two sets: neighbouring frames add little.
PAUSE_SECONDS = 0.1
# Smaller faces (pixels between the eyes) have noisy landmarks.
LEAST_EYES = 12.0

# Of the landmarks' scatter: its determinant, as a part of the squared trace (a quarter for a disc).
LEAST_WIDTH = 0.01

# Centred, so that affinities need no shift.
_TEMPLATE = np.array(
    [(-0.5, -0.6), (0.5, -0.6), (0.0, 0.0), (-0.41, 0.6), (0.41, 0.6)], dtype=np.float64
)
# The two directions in which five points leave the affine images of the template.
_REMAINDERS = np.linalg.svd(np.column_stack([_TEMPLATE, np.ones(5)]).T)[2][3:]


class Parallax:
    """Gathers the landmarks of one track, in constant memory. Not thread-safe.

    Profiles and small faces are left out.
    """

    def __init__(self) -> None:
        self._count = 0
        self._begin = self._end = 0.0
        self._first: tuple[complex, complex] | None = None
        self._mean = np.zeros(8)
        self._squares = np.zeros(8)

    def add(self, landmarks: Floats, pts: float) -> None:
        """Add a set of landmarks, 5×2 in pixels, found at this presentation time in seconds."""
        if self._count and 0 <= pts - self._end < PAUSE_SECONDS - 1e-3:  # times are rounded
            return
        points = landmarks.astype(np.float64)
        eyes = points[1] - points[0]
        if hypot(*eyes) < LEAST_EYES or abs(pose_of(landmarks)[0]) > 1:
            return
        remainder = _remainder(points)
        if remainder is None:
            return
        value = np.concatenate([remainder, self._place(points, complex(*eyes))])
        if not self._count:
            self._begin = pts
        self._end = pts
        self._count += 1
        away = value - self._mean
        self._mean += away / self._count
        self._squares += away * (value - self._mean)

    @property
    def flat(self) -> bool | None:
        """True: one plane fits all views. False: none does. None: that cannot be told (yet)."""
        if self._count < LEAST_SETS:
            return None
        variance = self._squares / self._count
        spread = float(variance[:4].mean()) ** 0.5
        if spread >= DEEP_SPREAD:
            return False
        moved = float(variance[4:].sum()) ** 0.5 >= MOTION
        enough = self._end - self._begin >= (MOVED_SECONDS if moved else STILL_SECONDS)
        return True if enough and spread <= FLAT_SPREAD else None

    def _place(self, points: NDArray[Any], eyes: complex) -> tuple[float, float, float, float]:
        """Place, size and turn in the picture against the first set."""
        centre = complex(*points.mean(axis=0))
        if self._first is None:
            self._first = centre, eyes
        first, unit = self._first
        shift, turn = (centre - first) / abs(unit), eyes / unit
        return shift.real, shift.imag, log(abs(turn)), atan2(turn.imag, turn.real)


def _remainder(points: NDArray[Any]) -> NDArray[Any] | None:
    """What the best affinity to the template leaves, 4; None where the points lie on a line."""
    centred = points - points.mean(axis=0)
    (a, b), (_, d) = (centred.T @ centred).tolist()
    area = a * d - b * b
    if area < LEAST_WIDTH * (a + d) ** 2:
        return None
    inverse = np.array([[d, -b], [-b, a]]) / area
    return np.asarray((_REMAINDERS @ centred @ (inverse @ (centred.T @ _TEMPLATE))).ravel())
