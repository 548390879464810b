"""The levels of a pyramid in one atlas, so that P-Net runs once instead of once a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ...core.boxes import Rows
from .proposals import STRIDE, WINDOW, Level

# A level has this many cells less than half of its pixels, rounded up.
_BORDER = WINDOW // STRIDE - 1

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Atlas:
    """Where levels lie on an atlas, in pixels; all corners are even, as P-Net moves by 2.

    Attributes:
        height: of the atlas, even.
        width: of the atlas, even.
        levels: finest first.
        corners: top and left of each level.
    """

    height: int
    width: int
    levels: tuple[Level, ...]
    corners: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class AtlasMap:
    """What each cell of P-Net's map of an atlas, row by row, belongs to.

    Attributes:
        columns: cells in a row of the map.
        level: its level; -1 where a window crosses a seam.
        edge_mask: 1 where the window lacks the level's last row of pixels (its height is odd), 2
            where it lacks the last column, 3 for both.
        tops: row of each level's first cell.
        lefts: column of each level's first cell.
    """

    columns: int
    level: NDArray[np.int16]
    edge_mask: NDArray[np.uint8]
    tops: Rows
    lefts: Rows


def atlas_of(levels: Sequence[Level], *, least: int) -> Atlas:
    """An atlas with little empty space for these levels (one or more), finest first.

    Its height and width are at least ``least``, which is even.
    """
    return _atlas(tuple(levels), least)


@lru_cache(maxsize=64)
def _atlas(levels: tuple[Level, ...], least: int) -> Atlas:
    slots = [(even(height), even(width)) for height, width in (level.shape for level in levels)]
    widths = {total for i in range(len(slots)) for total in _sums(slots, i)}
    widths = {max(width, least) for width in widths if width >= slots[0][1]}
    best: Atlas | None = None
    for total in sorted(widths):
        corners, height = _place(slots, total)
        height = max(height, least)
        if best is None or height * total < best.height * best.width:
            best = Atlas(height, total, levels, corners)
    assert best is not None
    return best


def _sums(slots: list[tuple[int, int]], first: int) -> list[int]:
    """Widths of the finest level alone, and with this level and those after it to its right."""
    return list(accumulate((width for _, width in slots[max(first, 1) :]), initial=slots[0][1]))


def _place(slots: list[tuple[int, int]], width: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """The corner of each slot on an atlas of this width, and the height they take. Each goes to the
    topmost free rectangle that holds it; what is left of that beside it and below is free again."""
    free: list[Box] = [(0, 0, sum(height for height, _ in slots), width)]
    corners = []
    for height, breadth in slots:
        hole = min(box for box in free if box[2] >= height and box[3] >= breadth)
        top, left, tall, wide = hole
        free.remove(hole)
        free.append((top, left + breadth, height, wide - breadth))
        free.append((top + height, left, tall - height, wide))
        corners.append((top, left))
    bottoms = [top + height for (top, _), (height, _) in zip(corners, slots, strict=True)]
    return tuple(corners), max(bottoms)


def even(length: int) -> int:
    """The length, or one more where it is odd."""
    return length + length % STRIDE


@lru_cache(maxsize=64)  # under a byte a pixel of an atlas
def atlas_map(atlas: Atlas) -> AtlasMap:
    """The map of an atlas's cells."""
    shape = (atlas.height // STRIDE - _BORDER, atlas.width // STRIDE - _BORDER)
    level = np.full(shape, -1, np.int16)
    edge_mask = np.zeros(shape, np.uint8)
    for index, (placed, (top, left)) in enumerate(zip(atlas.levels, atlas.corners, strict=True)):
        height, width = placed.shape
        rows = slice(top // STRIDE, (top + even(height)) // STRIDE - _BORDER)
        columns = slice(left // STRIDE, (left + even(width)) // STRIDE - _BORDER)
        level[rows, columns] = index
        if height % STRIDE:
            edge_mask[rows.stop - 1, columns] += 1
        if width % STRIDE:
            edge_mask[rows, columns.stop - 1] += 2
    corners = np.asarray(atlas.corners, np.int64) // STRIDE
    return AtlasMap(shape[1], level.ravel(), edge_mask.ravel(), corners[:, 0], corners[:, 1])
