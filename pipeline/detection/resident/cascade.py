"""MTCNN's cascade over a batch of pictures, on a device and without waiting for it.

The same search as ``vision.cascade``, box for box: its conventions decide which of several nearly
equal boxes comes out (coordinates from 1, cut towards 0, float32 throughout, the order of equal
scores), so every step here names the one it repeats. No shape depends on data (see ``slots``),
so that the whole may be recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..mtcnn.cascade import MOST_PROPOSALS, ONET_SIDE, OUTPUT_OVERLAP, REFINE_OVERLAP, RNET_SIDE
from ..mtcnn.proposals import LEVEL_OVERLAP, PYRAMID_OVERLAP, log_odds
from . import table as tables
from .arithmetic import landmarks_of, move, probability, square
from .capacity import Lengths
from .geometry import Geometry
from .slots import Slots, chosen, chosen_by, most_in_a_frame, place_in_frame, ranked
from .suppress import rounded, suppress_near, suppress_ranked

# Crops seen at a time: what they need stays small, however many there are.
_RNET_STEP = 4096
_ONET_STEP = 1024

# Columns of what is found: picture, whether it stays, score, box, landmarks.
FOUND_COLUMNS = 17


class TensorNetworks(Protocol):
    """P-, R- and O-Net on tensors; see ``networks.Networks`` for what they give."""

    def pnet(self, pictures: Tensor) -> Tensor:
        """Maps B×5×h×w of pictures B×3×H×W."""
        ...

    def rnet(self, crops: Tensor) -> Tensor:
        """Heads N×5 of crops N×3×24×24."""
        ...

    def onet(self, crops: Tensor) -> Tensor:
        """Heads N×15 of crops N×3×48×48."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """The three thresholds as log-odds, as float32 compares with them."""

    pnet: float
    rnet: float
    onet: float

    @classmethod
    def of(cls, thresholds: tuple[float, float, float]) -> Bounds:
        """From probabilities."""
        return cls(*(rounded(log_odds(value)) for value in thresholds))


class Grid:
    """A geometry's tables on a device."""

    def __init__(self, geometry: Geometry, device: torch.device) -> None:
        self.geometry = geometry
        self.corners = torch.from_numpy(geometry.corners).to(device)
        self.heights = torch.from_numpy(geometry.heights).to(device)
        self.widths = torch.from_numpy(geometry.widths).to(device)
        self.boxes = torch.from_numpy(geometry.boxes).to(device)
        self.levels = torch.from_numpy(geometry.levels).to(device)
        self.near = torch.from_numpy(geometry.near).to(device)


class Found(NamedTuple):
    """What came out, on the device.

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
    frames: Tensor, grid: Grid, networks: TensorNetworks, bounds: Bounds, lengths: Lengths
) -> Found:
    """The faces of pictures B×H×W×3 uint8 of the grid's size."""
    table = tables.summed(frames)
    needs = _Needs(lengths, frames.device)
    boxes = _propose(table, grid, networks, bounds, needs)
    boxes = _refine(table, boxes, networks, bounds, needs)
    faces = _output(table, boxes, networks, bounds, needs)
    return Found(faces, needs.tensor())


class _Needs:
    """Collects what is needed, and hands out what there is."""

    def __init__(self, lengths: Lengths, device: torch.device) -> None:
        self.lengths = lengths
        zero = torch.zeros((), dtype=torch.int64, device=device)
        self._counts: list[Tensor] = []
        self._crowd, self._rounds = zero, zero

    def count(self, slots: Slots) -> Slots:
        self._counts.append(slots.total)
        return slots

    def crowd(self, boxes: _Boxes, frames: int) -> None:
        most = most_in_a_frame(boxes.frames, boxes.used, frames) - 1
        self._crowd = torch.maximum(self._crowd, most)

    def rounds(self, settled: Tensor) -> None:
        rounds = torch.where(settled, 0, self.lengths.rounds * 2)
        self._rounds = torch.maximum(self._rounds, rounds)

    def tensor(self) -> Tensor:
        return torch.stack([*self._counts, self._crowd, self._rounds])


def _propose(
    table: Tensor, grid: Grid, networks: TensorNetworks, bounds: Bounds, needs: _Needs
) -> _Boxes:
    """See ``cascade.propose``."""
    maps = _maps(tables.levels(table, grid.corners, grid.heights, grid.widths), grid, networks)
    count, _, cells = maps.shape
    odds = maps[:, 0].flatten()
    seen = odds >= bounds.pnet
    sums = seen.cumsum(0, dtype=torch.int32)
    slots = needs.count(chosen_by(sums, needs.lengths.cells))
    frames = torch.div(slots.places, cells, rounding_mode="floor")
    places = slots.places - frames * cells
    scores = probability(odds.take(slots.places))
    boxes = grid.boxes[places]
    # A neighbour's slot is known from how many cells come before it. Unused slots may look past
    # the ends; whatever they see, they do not stay.
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
    needs.rounds(kept.settled)
    stay = needs.count(chosen(kept.mask, needs.lengths.windows))
    order = ranked(frames[stay.places], scores[stay.places], stay.used, ties="earlier")
    index, used = stay.places[order], stay.used[order]
    result = _Boxes(boxes[index], frames[index], used)
    if grid.geometry.crossing:
        result = _suppress(result, PYRAMID_OVERLAP, count, needs)
    best = place_in_frame(result.frames, result.used, count) < MOST_PROPOSALS
    result = result._replace(used=result.used & best)
    # frames * (5 * cells): the offsets are the maps' channels 1 to 4.
    first = frames[index] * (5 * cells) + places[index]
    steps = torch.arange(1, 5, device=maps.device) * cells
    offsets = maps.take(first[:, None] + steps)
    return result._replace(boxes=square(move(result.boxes, offsets, inclusive=0)))


def _maps(pixels: Tensor, grid: Grid, networks: TensorNetworks) -> Tensor:
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
    table: Tensor, boxes: _Boxes, networks: TensorNetworks, bounds: Bounds, needs: _Needs
) -> _Boxes:
    """See ``cascade.refine``."""
    boxes, windows = _inside(boxes, table)
    heads = _heads(networks.rnet, table, boxes.frames, windows, (RNET_SIDE, _RNET_STEP))
    passed = boxes.used & (heads[:, 0] > bounds.rnet)
    slots = needs.count(chosen(passed, needs.lengths.refined))
    scores = probability(heads[slots.places, 0])
    order = ranked(boxes.frames[slots.places], scores, slots.used, ties="earlier")
    index = slots.places[order]
    stay = _Boxes(boxes.boxes[index], boxes.frames[index], slots.used[order])
    stay = _suppress(stay, REFINE_OVERLAP, len(table), needs)
    moved = square(move(stay.boxes, heads[index, 1:5], inclusive=1))
    slots = needs.count(chosen(stay.used, needs.lengths.outputs))
    return _Boxes(moved[slots.places], stay.frames[slots.places], slots.used)


def _output(
    table: Tensor, boxes: _Boxes, networks: TensorNetworks, bounds: Bounds, needs: _Needs
) -> Tensor:
    """See ``cascade.output``; N×17, see ``Found``."""
    boxes, windows = _inside(boxes, table)
    heads = _heads(networks.onet, table, boxes.frames, windows, (ONET_SIDE, _ONET_STEP))
    used = boxes.used & (heads[:, 0] > bounds.onet)
    scores = probability(heads[:, 0])
    # Of equal scores the later one, as facenet-pytorch does it.
    order = ranked(boxes.frames, scores, used, ties="later")
    heads, scores, frames, used = heads[order], scores[order], boxes.frames[order], used[order]
    seen = boxes.boxes[order]
    moved = move(seen, heads[:, 1:5], inclusive=1)
    grown = torch.cat([moved[:, :2], moved[:, 2:] + 1], dim=1)
    kept = suppress_ranked(
        grown,
        frames,
        used,
        limit=OUTPUT_OVERLAP,
        mode="min",
        window=needs.lengths.crowd,
        rounds=needs.lengths.rounds,
    )
    needs.rounds(kept.settled)
    columns = [frames[:, None], kept.mask[:, None], scores[:, None], moved]
    return torch.cat([column.float() for column in [*columns, landmarks_of(seen, heads)]], dim=1)


def _suppress(boxes: _Boxes, limit: float, frames: int, needs: _Needs) -> _Boxes:
    """Without those that overlap a better one of their picture."""
    needs.crowd(boxes, frames)
    kept = suppress_ranked(
        boxes.boxes,
        boxes.frames,
        boxes.used,
        limit=limit,
        mode="union",
        window=needs.lengths.crowd,
        rounds=needs.lengths.rounds,
    )
    needs.rounds(kept.settled)
    return boxes._replace(used=kept.mask)


def _inside(boxes: _Boxes, table: Tensor) -> tuple[_Boxes, Tensor]:
    """Without the boxes that cover nothing of the picture, and windows N×4 of the others.

    See ``cascade.pixel_windows``. What is not in use has the picture's first pixel.
    """
    height, width = table.shape[2] - 1, table.shape[3] - 1
    x1, y1, x2, y2 = boxes.boxes.trunc().long().unbind(1)
    x1, y1 = x1.clamp(min=1) - 1, y1.clamp(min=1) - 1
    x2, y2 = x2.clamp(max=width), y2.clamp(max=height)
    used = boxes.used & (x2 > x1) & (y2 > y1)
    pixel = (0, 0, 1, 1)
    windows = [torch.where(used, a, b) for a, b in zip((x1, y1, x2, y2), pixel, strict=True)]
    return boxes._replace(used=used), torch.stack(windows, dim=1)


def _heads(
    network: Callable[[Tensor], Tensor],
    table: Tensor,
    frames: Tensor,
    windows: Tensor,
    sizes: tuple[int, int],
) -> Tensor:
    """What a network says of windows, at a side and so many at a time."""
    side, step = sizes
    parts = [
        network(tables.crops(table, frames[i : i + step], windows[i : i + step], side))
        for i in range(0, len(windows), step)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
