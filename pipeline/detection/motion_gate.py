"""Where a camera's picture changed since it was searched: only there it is searched again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.boxes import Rows
from ..core.types import Faces, Floats, Image

Window = tuple[int, int, int, int]
"""x1, y1 and one past x2, y2 in pixels."""

# The picture is compared in cells of this share of the smallest face.
_CELL = 0.25

# A cell (averaged with its neighbours) has changed when it differs by this many grey levels, or by
# this multiple of the cells' median difference, which is the sensor's noise.
_LEVELS = 3.0
_NOISES = 4.0

# Where the cells differ by more than this at the median, the camera moves or the light changed.
_MOVES = 3.0

# Searched around a change or a face: this share of its longer side, a smallest face at least.
_AROUND = 0.35

# A window's sides are these shares of the picture's: an engine spends time and memory on each size.
_SIDES = (0.25, 0.4, 0.6, 1.0)

# Together they must leave this share of the picture out, or it is searched whole.
_WORTH = 0.3

_MOST_WINDOWS = 3


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The parts of a picture to search.

    Attributes:
        windows: parts of the picture.
        kept: rows of the last faces that nothing changed around: they are where they were.
    """

    windows: tuple[Window, ...]
    kept: Rows

    @classmethod
    def whole(cls, image: Image) -> SearchPlan:
        return cls(((0, 0, image.shape[1], image.shape[0]),), np.zeros(0, np.int64))

    def cut(self, image: Image) -> list[Image]:
        """The windows' pictures, not copied."""
        return [image[top:bottom, left:right] for left, top, right, bottom in self.windows]


class Changes:
    """Detects what changed in the pictures of one source, of one size.

    Slow changes add up until they count: a cell is compared with what it was when it was last
    searched. After ``refresh`` seconds the whole picture is searched in any case.

    Args:
        min_face: smallest face that is looked for, in pixels.
        refresh: longest time in seconds between two searches of the whole picture.
    """

    def __init__(self, *, min_face: int, refresh: float) -> None:
        self._min_face = min_face
        self._refresh = refresh
        self._seen: Floats | None = None
        self._size = (0, 0)
        self._whole_at = 0.0
        self._faces = Faces.empty()

    def plan(self, image: Image, at: float) -> SearchPlan:
        """What to search of the source's next picture; ``found`` must follow.

        Args:
            image: H×W×3 BGR uint8.
            at: its time in seconds.
        """
        now = self._cells(image)
        seen = self._seen if self._size == image.shape[:2] else None
        due = not 0 <= at - self._whole_at < self._refresh
        windows = None if seen is None or due else self._windows(now, seen)
        if seen is None or windows is None:
            self._seen, self._size, self._whole_at = now, (image.shape[0], image.shape[1]), at
            return SearchPlan.whole(image)
        for left, top, right, bottom in windows:
            rows, columns = self._cells_of(top, bottom), self._cells_of(left, right)
            seen[rows, columns] = now[rows, columns]
        apart = [not any(_meet(box, window) for window in windows) for box in self._around_faces()]
        return SearchPlan(windows, np.flatnonzero(np.array(apart, np.bool_)))

    def found(self, plan: SearchPlan, faces: list[Faces]) -> Faces:
        """All faces of the picture.

        Args:
            plan: what was searched.
            faces: of each window, in its own pixels.
        """
        parts = [self._faces.take(plan.kept)]
        for (left, top, _, _), some in zip(plan.windows, faces, strict=True):
            parts.append(some.moved(left, top))
        self._faces = Faces.join(parts)
        return self._faces

    def _cells(self, image: Image) -> Floats:
        """The picture's green, in cells."""
        side = self._min_face * _CELL
        half = np.ascontiguousarray(image[::2, ::2, 1])
        size = (max(1, round(image.shape[1] / side)), max(1, round(image.shape[0] / side)))
        return np.asarray(cv2.resize(half, size, interpolation=cv2.INTER_AREA), np.float32)

    def _cells_of(self, start: int, stop: int) -> slice:
        side = self._min_face * _CELL
        return slice(int(start / side), int(np.ceil(stop / side)))

    def _windows(self, now: Floats, seen: Floats) -> tuple[Window, ...] | None:
        """What to search; None: everything."""
        difference = cv2.blur(cv2.absdiff(now, seen), (3, 3))
        noise = float(np.median(difference))
        if noise > _MOVES:
            return None
        changed = (difference > max(_LEVELS, _NOISES * noise)).astype(np.uint8)
        windows = self._settled([self._grown(box) for box in self._changed_boxes(changed)])
        height, width = self._size
        area = sum((right - left) * (bottom - top) for left, top, right, bottom in windows)
        return windows if area <= (1 - _WORTH) * height * width else None

    def _settled(self, boxes: list[Window]) -> tuple[Window, ...]:
        """A few windows around these boxes that cut no face and do not meet."""
        faces = self._around_faces()
        height, width = self._size
        while True:
            boxes = _joined(boxes)
            if len(boxes) > _MOST_WINDOWS:
                boxes = [_hull(boxes)]
            windows = [_fitted(box, width, height) for box in boxes]
            cut = [
                face
                for face in faces
                if any(_meet(face, one) and _hull([face, one]) != one for one in windows)
            ]
            if not cut and len(_joined(windows)) == len(windows):
                return tuple(windows)
            boxes = [*windows, *cut]

    def _changed_boxes(self, changed: NDArray[np.uint8]) -> Iterator[Window]:
        side = self._min_face * _CELL
        _, _, stats, _ = cv2.connectedComponentsWithStats(changed, connectivity=8)
        for left, top, width, height, _ in stats[1:].tolist():
            edges = (left * side, top * side, (left + width) * side, (top + height) * side)
            yield (int(edges[0]), int(edges[1]), int(edges[2]) + 1, int(edges[3]) + 1)

    def _around_faces(self) -> list[Window]:
        return [
            self._grown((int(x1), int(y1), int(x2) + 1, int(y2) + 1))
            for x1, y1, x2, y2 in self._faces.boxes.tolist()
        ]

    def _grown(self, box: Window) -> Window:
        """With its surroundings, inside the picture."""
        left, top, right, bottom = box
        around = max(self._min_face, int(_AROUND * max(right - left, bottom - top)))
        height, width = self._size
        return (
            min(max(left - around, 0), width - 1),
            min(max(top - around, 0), height - 1),
            max(min(right + around, width), 1),
            max(min(bottom + around, height), 1),
        )


def _joined(boxes: list[Window]) -> list[Window]:
    """Boxes that meet become one, until none do."""
    rest = list(boxes)
    done: list[Window] = []
    while rest:
        box = rest.pop()
        near = [other for other in rest if _meet(box, other)]
        if near:
            rest = [other for other in rest if other not in near]
            rest.append(_hull([box, *near]))
        else:
            done.append(box)
    # One that grew may meet another that was done before.
    return done if len(done) == len(boxes) else _joined(done)


def _hull(boxes: list[Window]) -> Window:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _meet(one: Window, other: Window) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _fitted(box: Window, width: int, height: int) -> Window:
    """The smallest window of the usual sides around a box, inside the picture."""
    left, right = _side(box[0], box[2], width)
    top, bottom = _side(box[1], box[3], height)
    return left, top, right, bottom


def _side(start: int, stop: int, length: int) -> tuple[int, int]:
    side = next(s for s in (round(share * length) for share in _SIDES) if s >= stop - start)
    first = min(max((start + stop - side) // 2, 0), length - side)
    return first, first + side
