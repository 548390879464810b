"""Takes pictures at other sizes: pyramid levels and crops, as facenet-pytorch does it.

facenet-pytorch resamples with torch's "area" interpolation, an adaptive average: output cell i
of n averages the input cells from ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉. From a summed-area table each
such average is four look-ups, whatever its size, so that one table serves all levels and crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.types import Image
from .atlas import Atlas, even
from .proposals import Level

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Cells sampled at a time: what they need stays in the cache.
_BLOCK = 32768

# What lies outside the picture: the networks' zero.
FILL = 127.5

# A type of 16 bytes that numpy moves at once; its value is never looked at.
_PIXEL = np.complex128


def cell_edges(size: Ints | int, cells: int) -> tuple[Ints, Ints]:
    """First and one past the last input cell that each of ``cells`` output cells averages.

    Two arrays N×cells for inputs of N lengths, or two of ``cells`` for one length.
    """
    index = np.arange(cells, dtype=np.int64)
    size = np.asarray(size, np.int64)[..., None]
    return index * size // cells, ((index + 1) * size + cells - 1) // cells


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """The corners of cells in the table, and how many pixels high and wide they are."""

    corners: tuple[NDArray[np.int32], ...]
    heights: NDArray[Any]
    widths: NDArray[Any]


@lru_cache(maxsize=32)  # the levels of a few sizes of picture; 16 bytes a pixel of a level
def _grid(rows: int, columns: int, height: int, width: int) -> _Grid:
    top, bottom = cell_edges(rows, height)
    left, right = cell_edges(columns, width)
    corners = tuple(
        (y[:, None] * (columns + 1) + x[None, :]).astype(np.int32)
        for y, x in ((bottom, right), (top, right), (bottom, left), (top, left))
    )
    return _Grid(corners, (bottom - top)[:, None], (right - left)[None, :])


# One for each size that is searched, up to 16 for a camera's (see ``motion_gate``): making one
# takes 2.5 ms of a 720p frame's 15.
@lru_cache(maxsize=48)  # 24 bytes a pixel of an atlas: 4.5 MB at 720p
def _atlas_grid(rows: int, columns: int, atlas: Atlas) -> _Grid:
    """The grids of an atlas's levels in one. Empty places and borders are empty cells."""
    shape = (atlas.height, atlas.width)
    corners = tuple(np.zeros(shape, np.int32) for _ in range(4))
    heights, widths = np.ones(shape, np.float32), np.ones(shape, np.float32)
    for level, (top, left) in zip(atlas.levels, atlas.corners, strict=True):
        height, width = level.height, level.width
        top, left = top + level.border, left + level.border
        grid = _grid.__wrapped__(rows, columns, height, width)
        # A side that is odd is made even with its last pixels once more.
        down, right = height % 2, width % 2
        place = np.s_[top : top + height + down, left : left + width + right]
        for whole, part in zip(corners, grid.corners, strict=True):
            whole[place] = np.pad(part, ((0, down), (0, right)), "edge")
        heights[place] = np.pad(grid.heights, ((0, down), (0, 0)), "edge")
        widths[place] = np.pad(grid.widths, ((0, 0), (0, right)), "edge")
    return _Grid(corners, heights, widths)


class AreaSampler:
    """One picture, to be had at any size in float32 without rounding.

    Args:
        image: H×W×3 uint8.

    Attributes:
        size: its height and width.
    """

    def __init__(self, image: Image) -> None:
        height, width = image.shape[:2]
        # Four channels: a pixel of the table is then 16 bytes, which numpy takes as one item.
        # Only differences of the table are used: they survive the overflow of 32 bits.
        table = cv2.integral(cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), sdepth=cv2.CV_32S)
        self._rows = np.asarray(table, np.int32).reshape(height + 1, (width + 1) * 4)
        self._pixels = self._rows.view(_PIXEL)
        self.size = (height, width)

    def level(self, level: Level) -> Floats:
        """The whole picture at this size with its border, as 3×height×width, 0..255."""
        picture = np.empty((3, *level.shape), np.float32)
        inside = picture[:, *_fill_border(picture, level)]
        self._means(_grid(*self.size, level.height, level.width), inside)
        return picture

    def atlas(self, atlas: Atlas) -> Floats:
        """The picture's levels on an atlas, as 3×height×width, 0..255."""
        picture = np.empty((3, atlas.height, atlas.width), np.float32)
        self._means(_atlas_grid(*self.size, atlas), picture)
        for level, (top, left) in zip(atlas.levels, atlas.corners, strict=True):
            _fill_border(
                picture[:, top : top + even(level.shape[0]), left : left + even(level.shape[1])],
                level,
            )
        return picture

    def crops(self, windows: Ints, side: int) -> Floats:
        """Parts of the picture at one size, as N×3×side×side, 0..255.

        Args:
            windows: N×4, x1, y1 and one past x2, y2, not empty. What lies outside the picture
                is ``FILL``.
            side: height and width to bring them to.
        """
        result = np.empty((len(windows), 3, side, side), np.float32)
        step = max(1, _BLOCK // (side * side))
        for start in range(0, len(windows), step):
            self._crop(windows[start : start + step], side, result[start : start + step])
        return result

    def _crop(self, windows: Ints, side: int, result: Floats) -> None:
        left, right = cell_edges(windows[:, 2] - windows[:, 0], side)
        top, bottom = cell_edges(windows[:, 3] - windows[:, 1], side)
        heights, widths = (bottom - top)[:, None, :, None], (right - left)[:, None, None, :]
        rows, columns = self.size
        # A cell's share outside the picture adds nothing to the sum.
        left, right = (np.clip(edge + windows[:, 0:1], 0, columns) for edge in (left, right))
        top, bottom = (np.clip(edge + windows[:, 1:2], 0, rows) for edge in (top, bottom))
        above, below = (edge[:, :, None] * (columns + 1) for edge in (top, bottom))
        first, last = left[:, None, :], right[:, None, :]
        sums = self._sums((below + last, above + last, below + first, above + first))
        _mean(sums.transpose(0, 3, 1, 2), heights, widths, result)
        beyond = (windows[:, :2] < 0).any(axis=1) | (windows[:, 2:] > (columns, rows)).any(axis=1)
        for row in np.flatnonzero(beyond):
            inside = np.multiply.outer(bottom[row] - top[row], right[row] - left[row])
            result[row] += FILL * (1 - inside / (heights[row, 0] * widths[row, 0]))

    def _means(self, grid: _Grid, result: Floats) -> None:
        height, width = grid.corners[0].shape
        step = max(1, _BLOCK // width)
        for start in range(0, height, step):
            rows = slice(start, start + step)
            sums = self._sums(tuple(corners[rows] for corners in grid.corners))
            heights, widths = grid.heights[rows], grid.widths
            if len(widths) > 1:
                widths = widths[rows]
            _mean(sums.transpose(2, 0, 1), heights, widths, result[:, rows])

    def _sums(self, corners: tuple[NDArray[Any], ...]) -> NDArray[np.int32]:
        """Sums …×3 between corners given as places in the table, bottom right first."""
        table = self._pixels.reshape(-1)
        sums = table.take(corners[0]).view(np.int32)
        sums -= table.take(corners[1]).view(np.int32)
        sums -= table.take(corners[2]).view(np.int32)
        sums += table.take(corners[3]).view(np.int32)
        return sums.reshape(*corners[0].shape, 4)[..., :3]


def _fill_border(picture: Floats, level: Level) -> tuple[slice, slice]:
    """Fill the border of a level that has this picture 3×H×W; where its inside is."""
    rows, columns = (slice(level.border, level.border + n) for n in (level.height, level.width))
    if level.border:
        picture[:, : rows.start] = picture[:, rows.stop :] = FILL
        picture[:, :, : columns.start] = picture[:, :, columns.stop :] = FILL
    return rows, columns


def _mean(
    sums: NDArray[np.int32], heights: NDArray[Any], widths: NDArray[Any], result: Floats
) -> None:
    """Sums …×h×w over areas h×w as means, into ``result``."""
    result[...] = sums
    # Divided twice, as torch does, so that the last bit is the same.
    result /= heights.astype(np.float32, copy=False)
    result /= widths.astype(np.float32, copy=False)
