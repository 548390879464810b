"""Faces cut out upright on the device: ``vision.align`` in torch.

The crops of large faces are averaged down in blocks before they are sampled, as there. A block's
mean comes from the summed-area table, and a pixel of the crop from the four blocks around the
place it looks at; a face that is not shrunk has blocks of one pixel.

cv2 averages in other steps and samples with weights rounded to a fraction of a pixel; see
``tests/pipeline/detection/test_resident_align.py`` for how far that lies off.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...recognition.align import TEMPLATE_112
from .table import sums_between

# Faces cut out at a time: each takes 10 MB on the way.
_STEP = 32


def align_faces(
    table: Tensor, frames: Tensor, landmarks: Tensor, *, size: int = 112, margin: int = 0
) -> Tensor:
    """Cut out faces so that their landmarks lie on the template; nothing waits for the device.

    Args:
        table: B×3×(H+1)×(W+1) int32, see ``table.summed``.
        frames: N int64, the picture of each face.
        landmarks: N×5×2 in pixels.
        size: side of the template in pixels.
        margin: pixels to keep around the template on each side.

    Returns:
        N×S×S×3 uint8 with S = size + 2·margin; black where the crop leaves the picture.
    """
    side = size + 2 * margin
    crops = torch.zeros((len(landmarks), side, side, 3), dtype=torch.uint8, device=table.device)
    template = _template(size, margin, table.device)
    for start in range(0, len(landmarks), _STEP):
        part = slice(start, start + _STEP)
        matrices = similarity_transforms(landmarks[part].double(), template)
        crops[part] = _warp(table, frames[part], matrices, side)
    return crops


def similarity_transforms(points: Tensor, template: Tensor) -> Tensor:
    """See ``vision.align.similarity_transforms``: N×5×2 and 5×2 float64 to N×2×3."""
    centre, goal = points.mean(1), template.mean(0)
    p, q = points - centre[:, None], template - goal
    spread = (p**2).sum((1, 2))
    cosine = (p * q).sum((1, 2))
    sine = (p[..., 0] * q[:, 1] - p[..., 1] * q[:, 0]).sum(1)
    flat = spread < 1e-12
    cosine = torch.where(flat, 1.0, cosine / spread)
    sine = torch.where(flat, 0.0, sine / spread)
    x, y = centre.unbind(1)
    right = goal[0] - (cosine * x - sine * y)
    down = goal[1] - (sine * x + cosine * y)
    return torch.stack([cosine, -sine, right, sine, cosine, down], 1).view(-1, 2, 3)


@lru_cache(maxsize=8)
def _template(size: int, margin: int, device: torch.device) -> Tensor:
    """5×2 float64 on the device; only the first time the host waits for it."""
    points = TEMPLATE_112 * (size / 112) + margin
    return torch.from_numpy(points.astype(np.float64)).to(device)


def _warp(table: Tensor, frames: Tensor, matrices: Tensor, side: int) -> Tensor:
    """The pictures seen through matrices N×2×3, as N×side×side×3 uint8."""
    finite = matrices.isfinite().all(2).all(1)
    upright = torch.zeros_like(matrices)
    upright[:, 0, 0] = upright[:, 1, 1] = 1
    matrices = torch.where(finite[:, None, None], matrices, upright)
    a, b = matrices[:, 0, 0], matrices[:, 1, 0]
    norm = a * a + b * b
    shift = matrices[:, :, 2]
    # The inverse of a similarity: turned back, over the square of its scale.
    back = torch.stack([a, b, -b, a], 1).view(-1, 2, 2) / norm[:, None, None]
    factor, left, top, columns, rows = _blocks(table, norm.sqrt(), back, shift, side)
    index = torch.arange(side, dtype=torch.float64, device=table.device)
    x = index[None, None, :] - shift[:, 0, None, None]
    y = index[None, :, None] - shift[:, 1, None, None]
    u, v = (back[:, i, 0, None, None] * x + back[:, i, 1, None, None] * y for i in (0, 1))
    # From pixels to blocks: a block's centre lies (factor − 1) / 2 pixels behind its first pixel.
    half = (factor - 1) / 2
    u = (u - (left + half)[:, None, None]) / factor[:, None, None]
    v = (v - (top + half)[:, None, None]) / factor[:, None, None]
    column, row = u.floor(), v.floor()
    right, below = (u - column).float()[:, None], (v - row).float()[:, None]
    pixels: Tensor = torch.zeros((), device=table.device)
    for down, share in ((0, 1 - below), (1, below)):
        for across, part in ((0, 1 - right), (1, right)):
            place = (row.long() + down, column.long() + across)
            mean = _means(table, frames, place, (factor, left, top, columns, rows))
            pixels = pixels + mean * (share * part)
    crops = torch.where(finite[:, None, None, None], pixels, 0.0)
    return crops.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _blocks(
    table: Tensor, scale: Tensor, back: Tensor, shift: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Side of the blocks, where they begin, and how many there are; N int64 each.

    See ``vision.align._shrunk``.
    """
    height, width = table.shape[2] - 1, table.shape[3] - 1
    factor = (1 / scale.clamp(min=1e-6)).long()
    axes = []
    for axis, length in ((0, width), (1, height)):
        reach = torch.stack([back[:, axis, 0] * side, back[:, axis, 1] * side], 1)
        origin = -(back[:, axis] * shift).sum(1)
        low = origin + reach.clamp(max=0).sum(1)
        high = origin + reach.clamp(min=0).sum(1)
        first = (low.floor().long() - factor).clamp(0, length)
        last = (high.ceil().long() + factor).clamp(0, length)
        axes.append((first, torch.div(last - first, factor.clamp(min=1), rounding_mode="floor")))
    (left, columns), (top, rows) = axes
    whole = (factor < 2) | (columns == 0) | (rows == 0)
    return (
        torch.where(whole, 1, factor),
        torch.where(whole, 0, left),
        torch.where(whole, 0, top),
        torch.where(whole, width, columns),
        torch.where(whole, height, rows),
    )


def _means(
    table: Tensor,
    frames: Tensor,
    place: tuple[Tensor, Tensor],
    blocks: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
) -> Tensor:
    """Means of blocks N×3×S×S, whole grey levels as cv2 gives them; 0 where there is none."""
    factor, left, top, columns, rows = (value[:, None, None] for value in blocks)
    row, column = place
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    y = top + torch.where(inside, row, 0) * factor
    x = left + torch.where(inside, column, 0) * factor
    # Where a picture has no block at all there is nothing to look at either.
    sums = sums_between(table, frames, (y, x), (y + factor, x + factor))
    means = (sums.float() / (factor * factor).float()[:, None]).round()
    return torch.where(inside[:, None], means, 0.0)
