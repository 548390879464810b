"""MTCNN's cascade over one picture: P-Net proposes, R-Net refines, O-Net decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from facestream.engines.base import Engine
from numpy.typing import NDArray

from ...core.boxes import move, square
from ...core.types import Faces, Floats, Image
from .proposals import (
    BORDER,
    LEVEL_OVERLAP,
    PYRAMID_OVERLAP,
    candidates,
    log_odds,
    probability,
    pyramid,
    refined,
    suppress,
)
from .sampling import Ints
from .stages import SearchedPicture, Stages

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)

# Boxes overlapping more than this are merged after R-Net; after O-Net it is the overlap over
# the smaller box, so that a face within a face goes too.
REFINE_OVERLAP = 0.7
OUTPUT_OVERLAP = 0.7

# Of more proposals only the best are searched, so that no picture takes all memory (their crops
# take 113 MB). A wall of 448 faces of 60×80 pixels has 7,936 at min_face 20; of 98 natural pictures
# at 1080p the busiest had 2,641.
MOST_PROPOSALS = 16_384

# Share of a window that must lie in the picture in a padded search: a face whose middle is at the
# picture's corner shows a quarter.
LEAST_INSIDE = 0.25


@dataclass(frozen=True, slots=True)
class Search:
    """What to search for.

    Attributes:
        min_face: side of the smallest faces in pixels, at least 12.
        factor: from one size of face to the next, 0.1 to 0.95.
        thresholds: probabilities that P-, R- and O-Net must give a face.
        padded: fill what a window sees beyond the picture's edge; otherwise it is cut there and
            stretched, as facenet-pytorch does it.

    Raises:
        ValueError: one is out of its range.
    """

    min_face: int
    factor: float
    thresholds: tuple[float, float, float]
    padded: bool = False

    def __post_init__(self) -> None:
        if self.min_face < 12:
            raise ValueError(f"min_face must be at least 12 pixels, not {self.min_face}")
        if not 0.1 <= self.factor <= 0.95:
            raise ValueError(f"factor must be from 0.1 to 0.95, not {self.factor}")
        if len(self.thresholds) != 3 or not all(0 < value < 1 for value in self.thresholds):
            raise ValueError(
                f"thresholds must be three numbers between 0 and 1, not {self.thresholds}"
            )


class WorkerPool:
    """The networks and the threads that run them. May be used from several threads.

    The networks are too small to divide one run among threads. So each thread works on an image of
    its own, or on its part of one image. Each network is loaded once and serves all threads side by
    side (measured on two busy CPUs, 1080p: as fast as a copy of the networks for each thread, or
    faster).

    Args:
        networks: closed with the pool.
        parts: how many threads.
    """

    def __init__(self, networks: Stages, parts: int = 1) -> None:
        self.networks, self.parts = networks, parts
        self._threads = ThreadPoolExecutor(parts, thread_name_prefix="mtcnn")

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name."""
        return self.networks.engines

    def find(self, jobs: Sequence[tuple[Image, Search]]) -> list[Faces]:
        """The faces of each picture, by descending score."""
        if len(jobs) == 1:
            return [find_faces(*jobs[0], self)]
        alone = WorkerPool(self.networks)
        return self.each(lambda job: find_faces(*job, alone), jobs)

    def each(self, job: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order, side by side."""
        if self.parts == 1 or len(items) < 2:
            return [job(item) for item in items]
        return list(self._threads.map(job, items))

    def close(self) -> None:
        """Wait for jobs under way and free the networks."""
        self._threads.shutdown()
        self.networks.close()


def find_faces(image: Image, search: Search, pool: WorkerPool) -> Faces:
    """The faces of a picture, by descending score."""
    picture = pool.networks.look(image)
    boxes = propose(picture, search, pool)
    boxes = refine(picture, boxes, pool, search)
    return output(picture, boxes, pool, search)


def propose(picture: SearchedPicture, search: Search, pool: WorkerPool) -> Floats:
    """P-Net: square boxes N×4 that may hold a face, the best first."""
    border = BORDER if search.padded else 0
    levels = pyramid(*picture.size, min_face=search.min_face, factor=search.factor, border=border)
    hits = picture.cells(levels, log_odds(search.thresholds[0]), pool)
    parts = [
        suppress(candidates(some, level), LEVEL_OVERLAP, picture.nms)
        for level, some in zip(levels, hits, strict=True)
    ]
    found = np.concatenate([np.zeros((0, 9), np.float32), *parts])
    found = suppress(found, PYRAMID_OVERLAP, picture.nms)
    if len(found) > MOST_PROPOSALS:
        log.warning(
            "a picture has %d places that may be faces; the best %d are searched",
            len(found),
            MOST_PROPOSALS,
        )
    return refined(found)[:MOST_PROPOSALS]


def refine(picture: SearchedPicture, boxes: Floats, pool: WorkerPool, search: Search) -> Floats:
    """R-Net: the boxes that score above its threshold, moved and square again."""
    odds = log_odds(search.thresholds[1])
    boxes, windows = _inside(boxes, picture.size, padded=search.padded)
    parts = pool.each(lambda mine: picture.rnet(mine, odds), _shares(windows, pool, picture.pieces))
    heads = np.concatenate([np.zeros((0, 5), np.float32), *parts])
    stay = np.flatnonzero(heads[:, 0] > odds)
    boxes, heads = boxes[stay], heads[stay]
    rows = picture.nms(boxes, probability(heads[:, 0]), REFINE_OVERLAP)
    return square(move(boxes[rows], heads[rows, 1:5], inclusive=1))


def output(picture: SearchedPicture, boxes: Floats, pool: WorkerPool, search: Search) -> Faces:
    """O-Net: the faces that score above its threshold, with landmarks."""
    boxes, windows = _inside(boxes, picture.size, padded=search.padded)
    parts = pool.each(picture.onet, _shares(windows, pool, picture.pieces))
    heads = np.concatenate([np.zeros((0, 15), np.float32), *parts])
    stay = np.flatnonzero(heads[:, 0] > log_odds(search.thresholds[2]))
    boxes, heads = boxes[stay], heads[stay]
    scores = probability(heads[:, 0])
    # Probabilities of 1.0 are common, and which of them wins shows in the box: this is the
    # order in which facenet-pytorch takes equal scores.
    order = np.argsort(scores)[::-1]
    boxes, heads, scores = boxes[order], heads[order], scores[order]
    moved = move(boxes, heads[:, 1:5], inclusive=1)
    # The last pixel counts as inside in this overlap too.
    grown = moved + np.array([0, 0, 1, 1], np.float32)
    rows = picture.nms(grown, scores, OUTPUT_OVERLAP, "min")
    return Faces(
        boxes=moved[rows], scores=scores[rows], landmarks=_landmarks(boxes[rows], heads[rows])
    )


def _inside(boxes: Floats, size: tuple[int, int], *, padded: bool) -> tuple[Floats, Ints]:
    """The boxes that cover enough of the picture, and their windows."""
    windows, stay = windows_of(boxes, *size, padded=padded)
    rows = np.flatnonzero(stay)
    return boxes[rows], windows[rows]


def windows_of(
    boxes: Floats, height: int, width: int, *, padded: bool = False
) -> tuple[Ints, NDArray[np.bool_]]:
    """The pixels under boxes N×4, as x1, y1 and one past x2, y2, and which cover enough of the
    picture: ``LEAST_INSIDE`` where they are not cut at its edge (``padded``), else any.

    facenet-pytorch's convention: coordinates count from 1 and are rounded down.
    """
    whole = np.floor(boxes).astype(np.int64) - (1, 1, 0, 0)
    cut = np.clip(whole, 0, (width, height, width, height))
    sides = cut[:, 2:] - cut[:, :2]
    stay = (sides > 0).all(axis=1)
    if padded:
        area = (whole[:, 2:] - whole[:, :2]).prod(axis=1)
        stay &= sides.prod(axis=1) >= LEAST_INSIDE * area
    return (whole if padded else cut), stay


def _shares(windows: Ints, pool: WorkerPool, pieces: int) -> list[Ints]:
    parts = min(1 if pool.parts == 1 else pool.parts * pieces, len(windows))
    return np.array_split(windows, parts) if parts else []


def _landmarks(boxes: Floats, heads: Floats) -> Floats:
    """Landmarks N×5×2 from the square boxes O-Net saw and its heads."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + np.float32(1)
    places = heads[:, 5:15].reshape(-1, 2, 5).transpose(0, 2, 1)
    return np.ascontiguousarray(sides[:, None] * places + boxes[:, None, :2] - np.float32(1))
