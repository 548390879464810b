"""The levels of a pyramid on one sheet, so that P-Net looks once instead of once a level."""

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
class Sheet:
    """Where levels lie on a sheet, in pixels; all corners are even, as P-Net moves by 2.

    Attributes:
        height: of the sheet, even.
        width: of the sheet, even.
        sizes: height and width of each level.
        corners: top and left of each level.
    """

    height: int
    width: int
    sizes: tuple[tuple[int, int], ...]
    corners: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class CellMap:
    """What each cell of P-Net's map of a sheet, row by row, belongs to.

    Attributes:
        columns: cells in a row of the map.
        level: its level; -1 where a window crosses a seam.
        lack: 1 where the level's last row of pixels is lacking in the window (its height is
            odd), 2 where the last column is, 3 for both.
        tops: row of each level's first cell.
        lefts: column of each level's first cell.
    """

    columns: int
    level: NDArray[np.int16]
    lack: NDArray[np.uint8]
    tops: Rows
    lefts: Rows


def sheet_of(levels: Sequence[Level], *, least: int) -> Sheet:
    """A sheet with little empty space for these levels, finest first.

    Args:
        levels: at least one.
        least: smallest height and width of the sheet, even.
    """
    return _sheet(tuple((level.height, level.width) for level in levels), least)


@lru_cache(maxsize=64)
def _sheet(sizes: tuple[tuple[int, int], ...], least: int) -> Sheet:
    slots = [(_even(height), _even(width)) for height, width in sizes]
    widths = {total for i in range(len(slots)) for total in _sums(slots, i)}
    widths = {max(width, least) for width in widths if width >= slots[0][1]}
    best: Sheet | None = None
    for total in sorted(widths):
        corners, height = _place(slots, total)
        height = max(height, least)
        if best is None or height * total < best.height * best.width:
            best = Sheet(height, total, sizes, corners)
    assert best is not None
    return best


def _sums(slots: list[tuple[int, int]], first: int) -> list[int]:
    """Widths of the finest level alone, and with this level and those after it beside it."""
    beside = accumulate((width for _, width in slots[max(first, 1) :]), initial=slots[0][1])
    return list(beside)


def _place(slots: list[tuple[int, int]], width: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """The corner of each slot on a sheet of this width, and the height they take.

    Each goes to the topmost free rectangle that holds it; what is left of that beside it and
    below is free again.
    """
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


def _even(length: int) -> int:
    return length + length % STRIDE


@lru_cache(maxsize=64)  # under a byte a pixel of a sheet
def cell_map(sheet: Sheet) -> CellMap:
    """The map of a sheet's cells."""
    shape = (sheet.height // STRIDE - _BORDER, sheet.width // STRIDE - _BORDER)
    level = np.full(shape, -1, np.int16)
    lack = np.zeros(shape, np.uint8)
    for index, ((height, width), (top, left)) in enumerate(
        zip(sheet.sizes, sheet.corners, strict=True)
    ):
        rows = slice(top // STRIDE, (top + _even(height)) // STRIDE - _BORDER)
        columns = slice(left // STRIDE, (left + _even(width)) // STRIDE - _BORDER)
        level[rows, columns] = index
        if height % STRIDE:
            lack[rows.stop - 1, columns] += 1
        if width % STRIDE:
            lack[rows, columns.stop - 1] += 2
    corners = np.asarray(sheet.corners, np.int64) // STRIDE
    return CellMap(shape[1], level.ravel(), lack.ravel(), corners[:, 0], corners[:, 1])
