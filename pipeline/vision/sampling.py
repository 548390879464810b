"""Takes pictures at other sizes: pyramid levels and crops, as facenet-pytorch does it.

facenet-pytorch resamples with torch's "area" interpolation, an adaptive average: output cell i
of n averages the input cells from ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉. From a summed-area table each
such average is four look-ups, whatever its size, so that one table serves all levels and crops.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Image

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def cell_edges(size: Ints | int, cells: int) -> tuple[Ints, Ints]:
    """First and one past the last input cell that each output cell averages.

    Args:
        size: lengths N of the inputs, or one length.
        cells: number of output cells.

    Returns:
        Two arrays N×cells (or cells).
    """
    index = np.arange(cells, dtype=np.int64)
    size = np.asarray(size, np.int64)[..., None]
    return index * size // cells, ((index + 1) * size + cells - 1) // cells


class AreaSampler:
    """One picture, to be had at any size in float32 without rounding.

    Args:
        image: H×W×3 uint8.
    """

    def __init__(self, image: Image) -> None:
        height, width = image.shape[:2]
        # Only differences of the table are used: they survive the overflow of 32 bits.
        self._table = np.asarray(cv2.integral(image, sdepth=cv2.CV_32S)).reshape(
            height + 1, width + 1, 3
        )
        self._size = (height, width)

    def level(self, height: int, width: int) -> Floats:
        """The whole picture at this size, as 3×height×width, 0..255."""
        top, bottom = cell_edges(self._size[0], height)
        left, right = cell_edges(self._size[1], width)
        rows = self._table[bottom] - self._table[top]
        sums = (rows[:, right] - rows[:, left]).transpose(2, 0, 1).astype(np.float32)
        return _mean(sums, (bottom - top)[:, None], (right - left)[None, :])

    def crops(self, windows: Ints, side: int) -> Floats:
        """Parts of the picture at one size, as N×3×side×side, 0..255.

        Args:
            windows: N×4, x1, y1 and one past x2, y2, inside the picture and not empty.
            side: height and width to bring them to.
        """
        left, right = cell_edges(windows[:, 2] - windows[:, 0], side)
        top, bottom = cell_edges(windows[:, 3] - windows[:, 1], side)
        heights, widths = (bottom - top)[:, None, :, None], (right - left)[:, None, None, :]
        left, right = left + windows[:, :1], right + windows[:, :1]
        top, bottom = top + windows[:, 1:2], bottom + windows[:, 1:2]
        sums = self._at(bottom, right) - self._at(top, right)
        sums -= self._at(bottom, left)
        sums += self._at(top, left)
        return _mean(sums.transpose(0, 3, 1, 2).astype(np.float32), heights, widths)

    def _at(self, rows: Ints, columns: Ints) -> NDArray[np.int32]:
        """The table at N×side rows and columns, as N×side×side×3."""
        return np.asarray(self._table[rows[:, :, None], columns[:, None, :]])


def _mean(sums: Floats, heights: NDArray[Any], widths: NDArray[Any]) -> Floats:
    # Divided twice, as torch does, so that the last bit is the same.
    sums /= heights.astype(np.float32)
    sums /= widths.astype(np.float32)
    return np.ascontiguousarray(sums)
