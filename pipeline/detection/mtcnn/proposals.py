"""MTCNN's first stage without its network: the picture pyramid and the boxes of P-Net's hits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.boxes import Rows, move, nms, square
from ...core.types import Floats

# P-Net sees a window of 12×12 pixels, moved by 2.
WINDOW = 12
STRIDE = 2

# Pixels around a level in a padded search: a window may lie half outside. Even, so that the cells
# inside are those of a search without it.
BORDER = 6

# Proposals overlapping more than this are merged: within a level, then across levels.
LEVEL_OVERLAP = 0.5
PYRAMID_OVERLAP = 0.7


@dataclass(frozen=True, slots=True)
class Level:
    """A size of the picture at which faces are as large as P-Net's window.

    Attributes:
        scale: pixels of the level for one of the picture.
        height: in pixels, without the border.
        width: likewise.
        border: pixels of filling on each side.
    """

    scale: float
    height: int
    width: int
    border: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width with the border."""
        return self.height + 2 * self.border, self.width + 2 * self.border


def pyramid(
    height: int, width: int, *, min_face: int, factor: float, border: int = 0
) -> tuple[Level, ...]:
    """The levels of a picture, finest first; none when it is smaller than a face.

    Lengths are in pixels, ``min_face`` is the smallest face's side; ``factor``, 0..1, is the ratio
    of a level to the one before. With a ``border`` the largest faces are larger than the picture.
    """
    scale = WINDOW / min_face
    shorter = min(height, width) * scale
    levels = []
    while shorter >= WINDOW - border:
        levels.append(Level(scale, int(height * scale + 1), int(width * scale + 1), border))
        scale *= factor
        shorter *= factor
    return tuple(levels)


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Cells of a level that may be faces: rows N, columns N, and P-Net's values there, N×5."""

    rows: Rows
    columns: Rows
    values: Floats

    @classmethod
    def of_maps(cls, maps: Floats, threshold: float) -> Hits:
        """The cells of P-Net's output 5×h×w that score at least ``threshold`` (log-odds)."""
        flat = maps.reshape(len(maps), -1)
        places = np.flatnonzero(flat[0] >= threshold)
        rows, columns = np.divmod(places, maps.shape[2])
        return cls(rows, columns, np.ascontiguousarray(flat[:, places].T))

    @classmethod
    def join(cls, parts: Sequence[Hits]) -> Hits:
        """All hits of parts of a level."""
        if len(parts) == 1:
            return parts[0]
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([none, *(part.rows for part in parts)]),
            np.concatenate([none, *(part.columns for part in parts)]),
            np.concatenate([np.zeros((0, 5), np.float32), *(part.values for part in parts)]),
        )


def candidates(hits: Hits, level: Level) -> Floats:
    """What the hits of a level see, N×9: box in the picture's pixels, probability and offsets."""
    corner = np.stack([hits.columns, hits.rows], axis=1).astype(np.float32) * STRIDE - level.border
    # Rounded down to whole pixels, as facenet-pytorch does.
    boxes = np.floor(
        np.concatenate([corner + 1, corner + WINDOW], axis=1) / np.float32(level.scale)
    )
    return np.concatenate([boxes, probability(hits.values[:, :1]), hits.values[:, 1:]], axis=1)


def suppress(found: Floats, overlap: float, by: Callable[..., Rows] = nms) -> Floats:
    """The candidates N×9 that overlap no better one by more than ``overlap``."""
    return found[by(found[:, :4], found[:, 4], overlap)]


def refined(found: Floats) -> Floats:
    """The boxes N×4 of candidates N×9, moved by their offsets and made square."""
    return square(move(found[:, :4], found[:, 5:], inclusive=0))


def log_odds(probability: float) -> float:
    """ln(p / (1 − p)); ±inf at 1 and 0."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


def probability(odds: Floats) -> Floats:
    """1 / (1 + exp(−x)), without overflow."""
    # Below −80 the result is no longer a normal float32.
    result: Floats = np.float32(1) / (np.float32(1) + np.exp(-np.maximum(odds, -80)))
    return result
