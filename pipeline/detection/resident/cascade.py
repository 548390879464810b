"""MTCNN's cascade over a batch of pictures, on a device and without waiting for it.

The same search as ``mtcnn.cascade``, box for box: its conventions decide which of several nearly
equal boxes it returns (coordinates from 1, cut towards 0, float32 throughout, the order of equal
scores), so every step here names the one it repeats. No shape depends on data (see ``lists``),
so that the whole may be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ...core.boxes import NmsMode
from ..mtcnn.cascade import LEAST_INSIDE, MOST_PROPOSALS, OUTPUT_OVERLAP, REFINE_OVERLAP
from ..mtcnn.proposals import LEVEL_OVERLAP, PYRAMID_OVERLAP, log_odds
from ..mtcnn.stages import ONET_SIDE, RNET_SIDE
from . import table as tables
from .boxes import (
    Kept,
    landmarks_of,
    move,
    probability,
    rounded,
    square,
    suppress_near,
    suppress_ranked,
)
from .geometry import Geometry
from .lists import Lengths, Slots, chosen, chosen_by, most_in_a_frame, place_in_frame, ranked
from .networks import TorchNetworks

# Crops seen at a time: what they need stays small, however many there are.
_RNET_STEP = 4096
_ONET_STEP = 1024

# Columns of `Found.faces`: picture, whether it stays, score, box, landmarks.
FOUND_COLUMNS = 17


Bounds = tuple[float, float, float]


def bounds_of(thresholds: tuple[float, float, float]) -> Bounds:
    """Probabilities as log-odds, rounded as float32 compares with them."""
    first, second, third = (rounded(log_odds(value)) for value in thresholds)
    return first, second, third


class Grid:
    """A geometry's tables on a device."""

    def __init__(self, geometry: Geometry, device: torch.device) -> None:
        self.geometry = geometry
        self.corners = torch.from_numpy(geometry.corners).to(device)
        self.heights = torch.from_numpy(geometry.heights).to(device)
        self.widths = torch.from_numpy(geometry.widths).to(device)
        self.filling = torch.from_numpy(geometry.filling).to(device)
        self.boxes = torch.from_numpy(geometry.boxes).to(device)
        self.levels = torch.from_numpy(geometry.levels).to(device)
        self.near = torch.from_numpy(geometry.near).to(device)


class Found(NamedTuple):
    """The results, on the device.

    Attributes:
        faces: N×17 float32, by picture and descending score; see ``FOUND_COLUMNS``.
        needed: 6 int64, the lengths that the batch needed, as ``Lengths``.
    """

    faces: Tensor
    needed: Tensor


class _Boxes(NamedTuple):
    """Boxes N×4 of pictures N, those in use."""

    boxes: Tensor
    frames: Tensor
    used: Tensor


def search(
    frames: Tensor, grid: Grid, networks: TorchNetworks, bounds: Bounds, lengths: Lengths
) -> Found:
    """The faces of pictures B×H×W×3 uint8 of the grid's size; ``bounds`` are ``bounds_of``."""
    table = tables.summed(frames)
    needs = _Needs(lengths, frames.device)
    boxes = _propose(table, grid, networks, bounds[0], needs)
    boxes, windows = _inside(boxes, table, padded=grid.geometry.padded)
    boxes = _refine(table, boxes, windows, networks, bounds[1], needs)
    boxes, windows = _inside(boxes, table, padded=grid.geometry.padded)
    return Found(_output(table, boxes, windows, networks, bounds[2], needs), needs.tensor())


class _Needs:
    """Collects the lengths that a batch needs; holds those it has."""

    def __init__(self, lengths: Lengths, device: torch.device) -> None:
        self.lengths = lengths
        zero = torch.zeros((), dtype=torch.int64, device=device)
        self._counts: list[Tensor] = []
        self._window, self._rounds = zero, zero

    def count(self, slots: Slots) -> Slots:
        self._counts.append(slots.total)
        return slots

    def window(self, boxes: _Boxes, frames: int) -> None:
        most = most_in_a_frame(boxes.frames, boxes.used, frames) - 1
        self._window = torch.maximum(self._window, most)

    def settled(self, kept: Kept) -> Tensor:
        rounds = torch.where(kept.settled, 0, self.lengths.rounds * 2)
        self._rounds = torch.maximum(self._rounds, rounds)
        return kept.mask

    def tensor(self) -> Tensor:
        return torch.stack([*self._counts, self._window, self._rounds])


def _propose(
    table: Tensor, grid: Grid, networks: TorchNetworks, bound: float, needs: _Needs
) -> _Boxes:
    """See ``cascade.propose``."""
    pixels = tables.levels(table, grid.corners, grid.heights, grid.widths, grid.filling)
    maps = _maps(pixels, grid, networks)
    count, _, cells = maps.shape
    odds = maps[:, 0].flatten()
    seen = odds >= bound
    sums = seen.cumsum(0, dtype=torch.int32)
    slots = needs.count(chosen_by(sums, needs.lengths.cells))
    frames = torch.div(slots.places, cells, rounding_mode="floor")
    places = slots.places - frames * cells
    scores = probability(odds.take(slots.places))
    boxes = grid.boxes[places]
    # A neighbour's slot is known from how many cells come before it. Unused slots may look past
    # the ends; they do not stay, whatever they see.
    around = slots.places[:, None] + grid.near[grid.levels[places]]
    around = around.clamp_(0, len(odds) - 1)
    slot = (sums.take(around) - 1).clamp_(0, len(scores) - 1).long()
    theirs = scores.take(slot)
    mine = scores[:, None]
    better = (theirs > mine) | ((theirs == mine) & (around < slots.places[:, None]))
    better &= seen.take(around)
    kept = suppress_near(
        boxes, slots.used, better, slot, limit=LEVEL_OVERLAP, rounds=needs.lengths.rounds
    )
    stay = needs.count(chosen(needs.settled(kept), needs.lengths.windows))
    order = ranked(frames[stay.places], scores[stay.places], stay.used, ties="earlier")
    index, used = stay.places[order], stay.used[order]
    result = _Boxes(boxes[index], frames[index], used)
    if grid.geometry.crossing:
        needs.window(result, count)
        result = _suppress(result, PYRAMID_OVERLAP, needs)
    best = place_in_frame(result.frames, result.used, count) < MOST_PROPOSALS
    result = result._replace(used=result.used & best)
    # frames * (5 * cells): the offsets are the maps' channels 1 to 4.
    first = frames[index] * (5 * cells) + places[index]
    offsets = maps.take(first[:, None] + torch.arange(1, 5, device=maps.device) * cells)
    # A slot that is not in use may point into a margin, where 0 × −∞ would be NaN.
    offsets = torch.where(used[:, None], offsets, 0)
    return result._replace(boxes=square(move(result.boxes, offsets, inclusive=0)))


def _maps(pixels: Tensor, grid: Grid, networks: TorchNetworks) -> Tensor:
    """P-Net's maps of all levels B×5×T, −∞ in the margins."""
    count = len(pixels)
    maps = pixels.new_full((count, 5, grid.geometry.cells), -torch.inf)
    for block in grid.geometry.blocks:
        pixel = slice(block.pixel, block.pixel + block.height * block.width)
        picture = pixels[:, :, pixel].reshape(count, 3, block.height, block.width)
        cell = slice(block.cell, block.cell + block.rows * block.stride)
        place = maps[:, :, cell].view(count, 5, block.rows, block.stride)
        place[..., : block.columns] = networks.pnet(picture)
    return maps


def _refine(
    table: Tensor,
    boxes: _Boxes,
    windows: Tensor,
    networks: TorchNetworks,
    bound: float,
    needs: _Needs,
) -> _Boxes:
    """See ``cascade.refine``."""
    heads = _heads(networks.rnet, table, boxes.frames, windows, (RNET_SIDE, _RNET_STEP))
    slots = needs.count(chosen(boxes.used & (heads[:, 0] > bound), needs.lengths.refined))
    scores = probability(heads[slots.places, 0])
    order = ranked(boxes.frames[slots.places], scores, slots.used, ties="earlier")
    index = slots.places[order]
    stay = _Boxes(boxes.boxes[index], boxes.frames[index], slots.used[order])
    needs.window(stay, len(table))
    stay = _suppress(stay, REFINE_OVERLAP, needs)
    moved = square(move(stay.boxes, heads[index, 1:5], inclusive=1))
    slots = needs.count(chosen(stay.used, needs.lengths.outputs))
    return _Boxes(moved[slots.places], stay.frames[slots.places], slots.used)


def _output(
    table: Tensor,
    boxes: _Boxes,
    windows: Tensor,
    networks: TorchNetworks,
    bound: float,
    needs: _Needs,
) -> Tensor:
    """See ``cascade.output``; N×17, see ``Found``."""
    heads = _heads(networks.onet, table, boxes.frames, windows, (ONET_SIDE, _ONET_STEP))
    used = boxes.used & (heads[:, 0] > bound)
    scores = probability(heads[:, 0])
    # Of equal scores the later one, as facenet-pytorch does it.
    order = ranked(boxes.frames, scores, used, ties="later")
    heads, scores, frames, used = heads[order], scores[order], boxes.frames[order], used[order]
    seen = boxes.boxes[order]
    moved = move(seen, heads[:, 1:5], inclusive=1)
    grown = torch.cat([moved[:, :2], moved[:, 2:] + 1], dim=1)
    stay = _suppress(_Boxes(grown, frames, used), OUTPUT_OVERLAP, needs, mode="min").used
    columns = [frames[:, None], stay[:, None], scores[:, None], moved]
    return torch.cat([column.float() for column in [*columns, landmarks_of(seen, heads)]], dim=1)


def _suppress(boxes: _Boxes, limit: float, needs: _Needs, *, mode: NmsMode = "union") -> _Boxes:
    """Without those that overlap a better one of their picture."""
    window, rounds = needs.lengths.window, needs.lengths.rounds
    kept = suppress_ranked(*boxes, limit=limit, mode=mode, window=window, rounds=rounds)
    return boxes._replace(used=needs.settled(kept))


def _inside(boxes: _Boxes, table: Tensor, *, padded: bool) -> tuple[_Boxes, Tensor]:
    """Without the boxes that cover too little of the picture, and windows N×4 of the others. See
    ``cascade.windows_of``. What is not in use has the picture's first pixel."""
    height, width = table.shape[2] - 1, table.shape[3] - 1
    x1, y1, x2, y2 = boxes.boxes.floor().long().unbind(1)
    whole = (x1 - 1, y1 - 1, x2, y2)
    cut = [c.clamp(0, edge) for c, edge in zip(whole, (width, height) * 2, strict=True)]
    across, down = (cut[2] - cut[0]).clamp(min=0), (cut[3] - cut[1]).clamp(min=0)
    used = boxes.used & (across > 0) & (down > 0)
    if padded:
        area = (whole[2] - whole[0]) * (whole[3] - whole[1])
        used &= across * down >= LEAST_INSIDE * area
    # No tensor is made from numbers here: that would copy from the host.
    corners = zip(whole if padded else cut, (0, 0, 1, 1), strict=True)
    windows = torch.stack([torch.where(used, a, b) for a, b in corners], dim=1)
    return boxes._replace(used=used), windows


def _heads(
    network: Callable[[Tensor], Tensor],
    table: Tensor,
    frames: Tensor,
    windows: Tensor,
    sizes: tuple[int, int],
) -> Tensor:
    """A network's heads for windows, ``sizes``: their side, and how many run at once."""
    side, step = sizes
    parts = [
        network(tables.crops(table, frames[i : i + step], windows[i : i + step], side))
        for i in range(0, len(windows), step)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
