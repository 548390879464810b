"""What a picture's size alone says of its search.

All levels of a pyramid lie one after the other: their pixels in one long row, and the cells of
P-Net's maps in another. So one look-up samples all levels and one threshold serves all maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.boxes import Rows
from ...core.types import Floats
from ..mtcnn.proposals import BORDER, LEVEL_OVERLAP, PYRAMID_OVERLAP, STRIDE, WINDOW, Level, pyramid
from ..mtcnn.sampling import FILL, cell_edges

# Overlaps this much below a bound are counted as reaching it: rounding must lose no neighbour.
_SLACK = 0.01


@dataclass(frozen=True, slots=True)
class Block:
    """Where a level lies among the pixels and the cells of all.

    Attributes:
        height: of the level, in pixels.
        width: of the level, in pixels.
        pixel: its first pixel.
        rows: of its map.
        columns: of its map.
        cell: its first cell.
        stride: cells from a row of its map to the next: its columns and a margin.
    """

    height: int
    width: int
    pixel: int
    rows: int
    columns: int
    cell: int
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Search of pictures of one size.

    Attributes:
        blocks: the levels, finest first.
        corners: 4×P int32: the corners of each pixel of the levels in a summed-area table of
            (height + 1)×(width + 1): bottom right, top right, bottom left, top left.
        heights: P, rows of the picture that each pixel averages.
        widths: P, columns of the picture that each pixel averages.
        filling: P, the value of each pixel of a border, 0 elsewhere.
        boxes: T×4, what each cell sees, in pixels of the picture; empty in the margins.
        levels: T, the level of each cell.
        near: L×K: how far from a cell of a level those lie that may overlap it enough to be
            merged within its level. The margins are wide enough that none is another level's.
        crossing: whether boxes of two levels may overlap enough to be merged.
        padded: see ``Search``.
    """

    blocks: tuple[Block, ...]
    corners: NDArray[np.int32]
    heights: Floats
    widths: Floats
    filling: Floats
    boxes: Floats
    levels: Rows
    near: Rows
    crossing: bool
    padded: bool

    @property
    def pixels(self) -> int:
        """P, pixels of all levels."""
        return len(self.heights)

    @property
    def cells(self) -> int:
        """T, cells of all levels and their margins."""
        return len(self.levels)


@lru_cache(maxsize=16)  # 30 bytes a pixel of the levels: 12 MB at 1080p and a smallest face of 40
def geometry(
    height: int, width: int, *, min_face: int, factor: float, padded: bool = False
) -> Geometry | None:
    """The search of pictures of this size; None where they are smaller than a face."""
    border = BORDER if padded else 0
    levels = pyramid(height, width, min_face=min_face, factor=factor, border=border)
    if not levels:
        return None
    sides = [_sides(level) for level in levels]
    reach = max(_reach(axis) for pair in sides for axis in pair)
    blocks, cells = _blocks(levels, reach)
    boxes = np.zeros((cells, 4), np.float32)
    owner = np.zeros(cells, np.int64)
    for index, (block, (across, down)) in enumerate(zip(blocks, sides, strict=True)):
        mine = slice(block.cell, block.cell + block.rows * block.stride)
        owner[mine] = index
        place = boxes[mine].reshape(block.rows, block.stride, 4)[:, : block.columns]
        place[..., 0], place[..., 2] = across
        place[..., 1], place[..., 3] = down[0][:, None], down[1][:, None]
    steps = range(-reach, reach + 1)
    around = [(y, x) for y in steps for x in steps if (y, x) != (0, 0)]
    corners, heights, widths, filling = _samples(height, width, levels)
    return Geometry(
        blocks=blocks,
        corners=corners,
        heights=heights,
        widths=widths,
        filling=filling,
        boxes=boxes,
        levels=owner,
        near=np.array([[y * block.stride + x for y, x in around] for block in blocks], np.int64),
        crossing=_crossing(sides),
        padded=padded,
    )


def map_side(side: int) -> int:
    """Cells of P-Net's map along a side of this many pixels, at least 12.

    Convolutions of 3 take 2 pixels off, its pooling rounds up.
    """
    return (side - 1) // STRIDE - (WINDOW // STRIDE - 2)


def _blocks(levels: tuple[Level, ...], reach: int) -> tuple[tuple[Block, ...], int]:
    """The levels' places, and the number of cells with all margins."""
    pixel, blocks = 0, []
    cell = reach * (map_side(levels[0].shape[1]) + reach) + reach
    for level in levels:
        height, width = level.shape
        rows, columns = map_side(height), map_side(width)
        stride = columns + reach
        blocks.append(Block(height, width, pixel, rows, columns, cell, stride))
        pixel += height * width
        cell += (rows + reach) * stride + reach
    return tuple(blocks), cell


Axis = tuple[Floats, Floats]


def _sides(level: Level) -> tuple[Axis, Axis]:
    """Left and right, then top and bottom of a level's cells, as in ``proposals.candidates``."""
    step = np.float32(level.scale)

    def axis(side: int) -> Axis:
        corner = np.arange(map_side(side)).astype(np.float32) * STRIDE - level.border
        return np.floor((corner + 1) / step), np.floor((corner + WINDOW) / step)

    height, width = level.shape
    return axis(width), axis(height)


def _reach(axis: Axis) -> int:
    """How many cells away another may still overlap one enough to be merged. Two boxes overlap no
    more than their sides along either axis do."""
    first, last = axis
    for step in range(1, len(first)):
        shared = np.maximum(last[:-step] - first[step:], 0)
        whole = last[step:] - first[:-step]
        if not np.any(shared / whole > LEVEL_OVERLAP - _SLACK):
            return step - 1
    return max(len(first) - 1, 0)


def _crossing(sides: list[tuple[Axis, Axis]]) -> bool:
    """Whether boxes of one level may overlap those of the next enough to be merged. At best the
    smaller one lies in the larger one; within a level they were merged before."""
    areas = [
        [float(np.prod([pick(last - first) for first, last in pair])) for pick in (np.min, np.max)]
        for pair in sides
    ]
    bound = PYRAMID_OVERLAP - _SLACK
    return any(
        small[1] > bound * large[0]
        for index, small in enumerate(areas)
        for large in areas[index + 1 :]
    )


def _samples(
    height: int, width: int, levels: tuple[Level, ...]
) -> tuple[NDArray[np.int32], Floats, Floats, Floats]:
    """See ``Geometry``: corners, heights, widths and filling."""
    corners, heights, widths, filling = [], [], [], []
    for level in levels:
        top, bottom = (edge[:, None] for edge in cell_edges(height, level.height))
        left, right = (edge[None, :] for edge in cell_edges(width, level.width))
        pairs = ((bottom, right), (top, right), (bottom, left), (top, left))
        # All corners of a border's pixel are one: its sum is nothing.
        places = np.stack([_bordered(y * (width + 1) + x, level, 0) for y, x in pairs])
        corners.append(places.astype(np.int32))
        heights.append(_bordered(bottom - top, level, 1).astype(np.float32))
        widths.append(_bordered(right - left, level, 1).astype(np.float32))
        filling.append(_bordered(np.zeros((1, 1), np.float32), level, FILL))
    return (
        np.concatenate(corners, axis=1),
        np.concatenate(heights),
        np.concatenate(widths),
        np.concatenate(filling),
    )


def _bordered(values: NDArray[Any], level: Level, outside: float) -> NDArray[Any]:
    """Values that spread over a level's inside, and one for its border, pixel by pixel."""
    inside = np.broadcast_to(values, (level.height, level.width))
    return np.pad(inside, level.border, constant_values=outside).ravel()
