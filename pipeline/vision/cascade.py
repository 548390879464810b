"""MTCNN's second and third stage: R-Net and O-Net look at each proposal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Faces, Floats
from .boxes import move, nms, square
from .proposals import log_odds, probability
from .sampling import Ints

# Boxes overlapping more than this are merged after R-Net; after O-Net it is the overlap over
# the smaller box, so that a face within a face goes too.
REFINE_OVERLAP = 0.7
OUTPUT_OVERLAP = 0.7

RNET_SIDE = 24
ONET_SIDE = 48

Network = Callable[[NDArray[Any]], Floats]
"""Crops N×3×S×S in, heads N×C out."""

Screened = Callable[[Floats, float], Floats]
"""The same; heads of crops that score below the log-odds given need not be exact."""


class Sampler(Protocol):
    """A picture from which crops can be had."""

    def crops(self, windows: Ints, side: int) -> NDArray[Any]:
        """Windows N×4 (x1, y1 and one past x2, y2) of the picture, as the network wants them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes N×4 in several pictures, and which picture each is in (N)."""

    boxes: Floats
    owners: Ints

    @classmethod
    def of(cls, boxes: Sequence[Floats]) -> Candidates:
        """From the boxes of each picture."""
        counts = [len(part) for part in boxes]
        return cls(
            np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
            np.repeat(np.arange(len(boxes), dtype=np.int64), counts),
        )

    def take(self, rows: NDArray[Any]) -> Candidates:
        """These rows."""
        return Candidates(self.boxes[rows], self.owners[rows])

    def __len__(self) -> int:
        return len(self.boxes)


def pixel_windows(boxes: Floats, height: int, width: int) -> Ints:
    """The pixels under boxes, as x1, y1 and one past x2, y2, cut at the picture's edge.

    facenet-pytorch's convention: coordinates count from 1 and are cut towards 0. A box outside
    the picture gives an empty window.
    """
    windows = np.trunc(boxes).astype(np.int64)
    windows[:, :2] = np.maximum(windows[:, :2], 1) - 1
    windows[:, 2] = np.minimum(windows[:, 2], width)
    windows[:, 3] = np.minimum(windows[:, 3], height)
    return windows


def refine(
    candidates: Candidates,
    samplers: Sequence[Sampler],
    network: Screened,
    *,
    size: tuple[int, int],
    threshold: float,
) -> Candidates:
    """R-Net: which candidates stay, with better boxes.

    Args:
        candidates: square boxes.
        samplers: one per picture.
        network: R-Net.
        size: height and width of the pictures.
        threshold: probability above which a candidate stays.
    """
    odds = log_odds(threshold)
    candidates, heads = _look(candidates, samplers, lambda c: network(c, odds), size, RNET_SIDE)
    stay = heads[:, 0] > odds
    candidates, heads = candidates.take(stay), heads[stay]
    rows = _nms_by_owner(candidates, probability(heads[:, 0]))
    candidates, heads = candidates.take(rows), heads[rows]
    return Candidates(square(move(candidates.boxes, heads[:, 1:5], inclusive=1)), candidates.owners)


def output(
    candidates: Candidates,
    samplers: Sequence[Sampler],
    network: Network,
    *,
    size: tuple[int, int],
    threshold: float,
) -> list[Faces]:
    """O-Net: the faces of each picture, by descending score; arguments as for ``refine``."""
    candidates, heads = _look(candidates, samplers, network, size, ONET_SIDE)
    stay = heads[:, 0] > log_odds(threshold)
    candidates, heads = candidates.take(stay), heads[stay]
    scores = probability(heads[:, 0])
    corner, sides = candidates.boxes[:, None, :2], _inclusive_sides(candidates.boxes)[:, None]
    landmarks = sides * heads[:, 5:15].reshape(-1, 2, 5).transpose(0, 2, 1) + corner - 1
    boxes = move(candidates.boxes, heads[:, 1:5], inclusive=1)
    # The last pixel counts as inside in this overlap too.
    grown = boxes + np.array([0, 0, 1, 1], np.float32)
    faces = []
    for owner in range(len(samplers)):
        mine = np.flatnonzero(candidates.owners == owner)
        # Probabilities of 1.0 are common, and which of them wins shows in the box: this is the
        # order in which facenet-pytorch takes equal scores.
        mine = mine[np.argsort(scores[mine])[::-1]]
        rows = mine[nms(grown[mine], scores[mine], OUTPUT_OVERLAP, "min")]
        faces.append(
            Faces(
                boxes=boxes[rows],
                scores=scores[rows],
                landmarks=np.ascontiguousarray(landmarks[rows]),
            )
        )
    return faces


def _inclusive_sides(boxes: Floats) -> Floats:
    sides: Floats = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(1)
    return sides


def _look(
    candidates: Candidates,
    samplers: Sequence[Sampler],
    network: Network,
    size: tuple[int, int],
    side: int,
) -> tuple[Candidates, Floats]:
    """The network's heads for all candidates that lie in their picture."""
    windows = pixel_windows(candidates.boxes, *size)
    inside = (windows[:, 2] > windows[:, 0]) & (windows[:, 3] > windows[:, 1])
    candidates, windows = candidates.take(inside), windows[inside]
    if not len(candidates):
        return candidates, np.zeros((0, 15), np.float32)
    crops = [
        sampler.crops(windows[candidates.owners == owner], side)
        for owner, sampler in enumerate(samplers)
    ]
    # Owners ascend, so that the crops of one picture after the other are in the boxes' order.
    return candidates, network(crops[0] if len(crops) == 1 else np.concatenate(crops))


def _nms_by_owner(candidates: Candidates, scores: Floats) -> Ints:
    rows = [np.zeros(0, np.int64)]
    for owner in np.unique(candidates.owners):
        mine = np.flatnonzero(candidates.owners == owner)
        rows.append(mine[nms(candidates.boxes[mine], scores[mine], REFINE_OVERLAP)])
    return np.concatenate(rows)
