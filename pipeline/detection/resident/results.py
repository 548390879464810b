"""What a search found, as the pipeline wants it."""

from __future__ import annotations

import numpy as np

from ...core.types import Faces, Floats, Image
from .cascade import FOUND_COLUMNS


def split_faces(found: Floats, count: int) -> list[Faces]:
    """Rows of ``Found.faces``, in the order of their pictures, as the faces of each picture."""
    found = found[found[:, 1] > 0]
    bounds = np.searchsorted(found[:, 0], np.arange(1, count))
    return [
        Faces(
            boxes=part[:, 3:7].copy(),
            scores=part[:, 2].copy(),
            landmarks=part[:, 7:17].reshape(-1, 5, 2).copy(),
        )
        for part in np.split(found, bounds)
    ]


def no_faces() -> Faces:
    """Of an empty picture."""
    return split_faces(np.zeros((0, FOUND_COLUMNS), np.float32), 1)[0]


def nothing(crop: tuple[int, int] | None) -> tuple[Faces, Image]:
    """No faces, and their crops of a size and a margin."""
    side = 0 if crop is None else crop[0] + 2 * crop[1]
    return no_faces(), np.zeros((0, side, side, 3), np.uint8)
