"""Arithmetic on boxes: rows of x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .types import Floats

Rows = NDArray[np.int64]
NmsMode = Literal["union", "min"]

# Up to this many boxes one matrix of overlaps is faster than a row for each kept box.
_MATRIX = 400


def area(boxes: NDArray[Any]) -> Floats:
    """Areas N of boxes N×4; 0 for an inverted box."""
    boxes = np.asarray(boxes, np.float32)
    sides = np.maximum(boxes[:, 2:4] - boxes[:, 0:2], 0)
    result: Floats = sides[:, 0] * sides[:, 1]
    return result


def intersection_matrix(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Intersection areas N×M of boxes ``a`` N×4 and ``b`` M×4."""
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    width = np.minimum.outer(a[:, 2], b[:, 2])
    width -= np.maximum.outer(a[:, 0], b[:, 0])
    height = np.minimum.outer(a[:, 3], b[:, 3])
    height -= np.maximum.outer(a[:, 1], b[:, 1])
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    result: Floats = width
    return result


def iou_matrix(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Intersection over union N×M of boxes N×4 and M×4, 0..1; 0 where both are empty."""
    return _overlaps(a, b, "union")


def nms(
    boxes: NDArray[Any], scores: NDArray[Any], threshold: float, mode: NmsMode = "union"
) -> Rows:
    """Non-maximum suppression: of boxes that overlap more than ``threshold``, the best stays.

    Args:
        boxes: N×4.
        scores: N; of equal scores the earlier row counts as better.
        threshold: largest overlap that two kept boxes may have.
        mode: overlap is the intersection over the union, or over the smaller of the two areas.

    Returns:
        The kept rows, by descending score.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    if len(order) < 2:
        return order
    boxes = np.asarray(boxes, np.float32)[order]
    if len(order) <= _MATRIX:
        return order[_keep_by_matrix(_overlaps(boxes, boxes, mode) > threshold)]
    keep = []
    rest = np.arange(len(order))
    while rest.size:
        best, rest = rest[0], rest[1:]
        keep.append(best)
        overlap = _overlaps(boxes[best : best + 1], boxes[rest], mode)[0]
        rest = rest[overlap <= threshold]
    return order[np.asarray(keep, np.int64)]


def _keep_by_matrix(clash: NDArray[np.bool_]) -> Rows:
    """Rows that do not clash with an earlier kept row."""
    dropped = np.zeros(len(clash), np.bool_)
    # Only rows that clash with an earlier one can be dropped, and most do not.
    for row in np.flatnonzero(np.triu(clash, 1).any(axis=1)).tolist():
        if not dropped[row]:
            dropped[row + 1 :] |= clash[row, row + 1 :]
    return np.flatnonzero(~dropped)


def _overlaps(a: NDArray[Any], b: NDArray[Any], mode: NmsMode) -> Floats:
    shared = intersection_matrix(a, b)
    if mode == "union":
        whole = np.add.outer(area(a), area(b))
        whole -= shared
    else:
        whole = np.minimum.outer(area(a), area(b))
    result: Floats = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return result


def square(boxes: Floats) -> Floats:
    """Boxes N×4 made square about their centres, with their longer side."""
    sides = boxes[:, 2:4] - boxes[:, 0:2]
    longest = sides.max(axis=1, keepdims=True)
    corner = boxes[:, 0:2] + sides * np.float32(0.5) - longest * np.float32(0.5)
    return np.concatenate([corner, corner + longest], axis=1)


def move(boxes: Floats, offsets: Floats, *, inclusive: Literal[0, 1]) -> Floats:
    """Boxes N×4 moved by offsets N×4, given as fractions of the boxes' sides.

    Args:
        inclusive: added to each side: MTCNN counts a box's last pixel as inside (1), except
            when it moves P-Net's boxes (0).
    """
    sides = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(inclusive)
    result: Floats = boxes + offsets * np.concatenate([sides, sides], axis=1)
    return result
