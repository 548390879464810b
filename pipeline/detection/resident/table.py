"""Area resampling on the device, from summed-area tables: ``sampling.AreaSampler`` in torch.

A table is two cumulative sums in whole numbers, exact however they are added up; an average is
four look-ups and two divisions in float32, those that torch's "area" interpolation makes. So
levels and crops of any window are the CPU's to the bit, which neither matrix products (rounded in
another order) nor ``adaptive_avg_pool2d`` (one window for a whole batch) would give for crops. One
table serves all levels of the pyramid and all crops.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..mtcnn.sampling import FILL


def summed(frames: Tensor) -> Tensor:
    """Summed-area tables B×3×(H+1)×(W+1) int32 of pictures B×H×W×3 uint8.

    Only differences of a table are used: they survive the overflow of its 32 bits.
    """
    planes = F.pad(frames.permute(0, 3, 1, 2), (1, 0, 1, 0))
    return planes.cumsum(3, dtype=torch.int32).cumsum_(2)


def levels(
    table: Tensor, corners: Tensor, heights: Tensor, widths: Tensor, filling: Tensor
) -> Tensor:
    """All levels of all pictures, as B×3×P float32, 0..255; see ``Geometry``."""
    flat = table.flatten(2)
    sums = flat.index_select(2, corners[0])
    sums -= flat.index_select(2, corners[1])
    sums -= flat.index_select(2, corners[2])
    sums += flat.index_select(2, corners[3])
    return sums.float().div_(heights).div_(widths).add_(filling)


def crops(table: Tensor, frames: Tensor, windows: Tensor, side: int) -> Tensor:
    """Parts of pictures at one size, as N×3×side×side float32, 0..255.

    Args:
        table: of all pictures.
        frames: N int64, the picture of each part.
        windows: N×4 int64, x1, y1 and one past x2, y2, not empty. What lies outside the picture
            is ``FILL``.
        side: height and width to bring them to.
    """
    left, right = _edges(windows[:, 0], windows[:, 2], side)
    top, bottom = _edges(windows[:, 1], windows[:, 3], side)
    channels, height, width = table.shape[1:]
    heights, widths = (bottom - top).float(), (right - left).float()
    left, right = left.clamp(0, width - 1), right.clamp(0, width - 1)
    top, bottom = top.clamp(0, height - 1), bottom.clamp(0, height - 1)
    planes = frames[:, None] * channels + torch.arange(channels, device=table.device)
    start = (planes * (height * width))[:, :, None, None]
    # Rows first: they are few, and the sum with the columns is the large one.
    above, below = ((row * width)[:, None, :, None] + start for row in (top, bottom))
    first, last = left[:, None, None, :], right[:, None, None, :]
    sums = table.take(below + last)
    sums -= table.take(above + last)
    sums -= table.take(below + first)
    sums += table.take(above + first)
    means = sums.float().div_(heights[:, None, :, None]).div_(widths[:, None, None, :])
    # The share of a cell's rows and columns in the picture; 1 and 1 add nothing.
    inside = ((bottom - top) / heights)[:, :, None] * ((right - left) / widths)[:, None, :]
    return means.add_(FILL * (1 - inside)[:, None])


def _edges(start: Tensor, stop: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """First and one past the last of what each cell averages, N×cells; see ``cell_edges``."""
    size = (stop - start)[:, None]
    index = torch.arange(cells, device=start.device)
    first = torch.div(index * size, cells, rounding_mode="floor")
    last = torch.div((index + 1) * size + (cells - 1), cells, rounding_mode="floor")
    return first + start[:, None], last + start[:, None]
