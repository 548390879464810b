"""Follows a face from picture to picture where the detector does not find it: median flow.

Corners of the picture are followed by OpenCV's Lucas-Kanade and back again; those that return
where they began vote on how the box moved and grew (Kalal et al. 2010).
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats, Image

Grey = NDArray[np.uint8]

LONGEST_SIDE = 960
"""Pictures are followed at this size at most."""
_POINTS = 8
# Followed there and back, a point may be off by this share of the box's side.
_RETURN = 0.03
_LEAST_POINTS = 8
_GROWTH = 1.08
_WINDOW = (15, 15)


class Small(NamedTuple):
    """A frame in grey, and by how much it was reduced."""

    image: Grey
    scale: float


def small_of(image: Image) -> Small:
    """Of an image H×W×3 BGR uint8."""
    scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return Small(np.asarray(grey, np.uint8), scale)


def follow(before: Small, now: Small, box: Floats) -> Floats | None:
    """Where a box (4) of one picture lies in the next one; None where that cannot be said."""
    if before.image.shape != now.image.shape:
        return None
    scaled = np.asarray(box, np.float64) * before.scale
    points = _grid(scaled, before.image.shape)
    if len(points) < _LEAST_POINTS:
        return None
    moved, back, good = _there_and_back(before.image, now.image, points)
    side = float(min(scaled[2] - scaled[0], scaled[3] - scaled[1]))
    good &= np.linalg.norm(back - points, axis=1) <= max(0.5, _RETURN * side)
    if good.sum() < max(_LEAST_POINTS, len(points) // 4):
        return None
    old, new = points[good], moved[good]
    middle = (scaled[:2] + scaled[2:]) / 2
    shift = np.median(new - old, axis=0)
    half = (scaled[2:] - scaled[:2]) / 2 * _growth(old, new)
    if np.abs(shift).max() > 2 * side:
        return None
    where = np.concatenate([middle + shift - half, middle + shift + half]) / before.scale
    return where.astype(np.float32)


def _grid(box: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Points N×2 in the inner part of a box that lie in the picture."""
    steps = np.linspace(0.2, 0.8, _POINTS)
    x, y = box[0] + steps * (box[2] - box[0]), box[1] + steps * (box[3] - box[1])
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    inside = (points >= 1).all(axis=1) & (points < np.array(shape[::-1]) - 2).all(axis=1)
    return points[inside].astype(np.float32)


def _there_and_back(
    before: Grey, now: Grey, points: NDArray[np.float32]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    flow: Any = cv2.calcOpticalFlowPyrLK
    start = points[:, None]
    moved, found, _ = flow(before, now, start, None, winSize=_WINDOW, maxLevel=3)
    back, returned, _ = flow(now, before, moved, None, winSize=_WINDOW, maxLevel=3)
    good = (found[:, 0] == 1) & (returned[:, 0] == 1)
    return moved[:, 0], back[:, 0], good


def _growth(old: NDArray[Any], new: NDArray[Any]) -> float:
    """By which factor the points moved apart."""
    first, second = np.triu_indices(len(old), 1)
    was = np.linalg.norm(old[first] - old[second], axis=1)
    now = np.linalg.norm(new[first] - new[second], axis=1)
    return float(np.clip(np.median(now / np.maximum(was, 1e-3)), 1 / _GROWTH, _GROWTH))


class Recent:
    """The last pictures of a scene, to follow a face back to where it came from.

    Args:
        seconds: how far back.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: deque[tuple[int, float, Small]] = deque()

    def add(self, number: int, at: float, picture: Small) -> None:
        """The next picture; ``at`` in seconds."""
        self._kept.append((number, at, picture))
        while at - self._kept[0][1] > self._seconds:
            self._kept.popleft()

    def clear(self) -> None:
        """Another scene begins."""
        self._kept.clear()

    def last(self) -> Small | None:
        """The newest picture."""
        return self._kept[-1][2] if self._kept else None

    def back(self) -> list[tuple[int, Small]]:
        """Numbers and pictures, the newest first."""
        return [(number, picture) for number, _, picture in reversed(self._kept)]
