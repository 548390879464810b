"""MTCNN's cascade over one picture: P-Net proposes, R-Net refines, O-Net decides."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.boxes import move, nms, square
from ...core.types import Faces, Floats
from .networks import Networks
from .proposals import (
    LEVEL_OVERLAP,
    PYRAMID_OVERLAP,
    Hits,
    Level,
    Proposals,
    log_odds,
    probability,
    pyramid,
)
from .sampling import AreaSampler, Ints
from .worker_pool import Workers

log = logging.getLogger(__name__)

# Boxes overlapping more than this are merged after R-Net; after O-Net it is the overlap over
# the smaller box, so that a face within a face goes too.
REFINE_OVERLAP = 0.7
OUTPUT_OVERLAP = 0.7

# Of more proposals the best are looked at, so that no picture takes all memory (their crops take
# 113 MB). A wall of 448 faces of 60×80 pixels has 7,936 at min_face 20; of 98 natural pictures at
# 1080p the busiest had 2,641.
MOST_PROPOSALS = 16_384

RNET_SIDE = 24
ONET_SIDE = 48


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for: smallest face in pixels, step of sizes, and the stages' thresholds."""

    min_face: int
    factor: float
    thresholds: tuple[float, float, float]


def find_faces(sampler: AreaSampler, search: Search, team: Workers) -> Faces:
    """The faces of a picture, by descending score."""
    first, second, third = search.thresholds
    levels = pyramid(*sampler.size, min_face=search.min_face, factor=search.factor)
    boxes = propose(sampler, levels, team, threshold=first)
    boxes = refine(sampler, boxes, team, threshold=second)
    return output(sampler, boxes, team, threshold=third)


def propose(
    sampler: AreaSampler, levels: tuple[Level, ...], team: Workers, *, threshold: float
) -> Floats:
    """P-Net: square boxes N×4 that may hold a face, with a probability of ``threshold``."""
    odds = log_odds(threshold)

    def job(networks: Networks, mine: tuple[Level, ...]) -> list[Hits]:
        return networks.cells(sampler, mine, odds)

    (cells,) = team.each(job, [levels])
    parts = [
        Proposals.of_hits(some, scale=level.scale).suppress(LEVEL_OVERLAP)
        for level, some in zip(levels, cells, strict=True)
    ]
    proposals = Proposals.join(parts).suppress(PYRAMID_OVERLAP)
    if len(proposals) > MOST_PROPOSALS:
        log.warning(
            "a picture has %d places that may be faces; the best %d are looked at",
            len(proposals),
            MOST_PROPOSALS,
        )
    return proposals.refined()[:MOST_PROPOSALS]


def refine(sampler: AreaSampler, boxes: Floats, team: Workers, *, threshold: float) -> Floats:
    """R-Net: the boxes that score above ``threshold``, moved and square again."""
    odds = log_odds(threshold)
    boxes, windows = _inside(boxes, sampler.size)

    def job(networks: Networks, mine: Ints) -> Floats:
        return networks.rnet(sampler.crops(mine, RNET_SIDE), odds)

    heads = _heads(team.each(job, _shares(windows, team)), 5)
    stay = np.flatnonzero(heads[:, 0] > odds)
    boxes, heads = boxes[stay], heads[stay]
    rows = nms(boxes, probability(heads[:, 0]), REFINE_OVERLAP)
    return square(move(boxes[rows], heads[rows, 1:5], inclusive=1))


def output(sampler: AreaSampler, boxes: Floats, team: Workers, *, threshold: float) -> Faces:
    """O-Net: the faces that score above ``threshold``, with landmarks."""
    boxes, windows = _inside(boxes, sampler.size)

    def job(networks: Networks, mine: Ints) -> Floats:
        return networks.onet(sampler.crops(mine, ONET_SIDE))

    heads = _heads(team.each(job, _shares(windows, team)), 15)
    stay = np.flatnonzero(heads[:, 0] > log_odds(threshold))
    boxes, heads = boxes[stay], heads[stay]
    scores = probability(heads[:, 0])
    # Probabilities of 1.0 are common, and which of them wins shows in the box: this is the
    # order in which facenet-pytorch takes equal scores.
    order = np.argsort(scores)[::-1]
    boxes, heads, scores = boxes[order], heads[order], scores[order]
    moved = move(boxes, heads[:, 1:5], inclusive=1)
    # The last pixel counts as inside in this overlap too.
    grown = moved + np.array([0, 0, 1, 1], np.float32)
    rows = nms(grown, scores, OUTPUT_OVERLAP, "min")
    return Faces(
        boxes=moved[rows], scores=scores[rows], landmarks=_landmarks(boxes[rows], heads[rows])
    )


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


def _inside(boxes: Floats, size: tuple[int, int]) -> tuple[Floats, Ints]:
    """The boxes that cover some of the picture, and their windows."""
    windows = pixel_windows(boxes, *size)
    rows = np.flatnonzero((windows[:, 2] > windows[:, 0]) & (windows[:, 3] > windows[:, 1]))
    return boxes[rows], windows[rows]


def _shares(windows: Ints, team: Workers) -> list[Ints]:
    parts = min(team.parts, len(windows))
    return np.array_split(windows, parts) if parts else []


def _heads(parts: list[Floats], columns: Literal[5, 15]) -> Floats:
    return np.concatenate([np.zeros((0, columns), np.float32), *parts])


def _landmarks(boxes: Floats, heads: Floats) -> Floats:
    """Landmarks N×5×2 from the square boxes O-Net saw and its heads."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(1)
    places = heads[:, 5:15].reshape(-1, 2, 5).transpose(0, 2, 1)
    return np.ascontiguousarray(sides[:, None] * places + boxes[:, None, :2] - np.float32(1))
