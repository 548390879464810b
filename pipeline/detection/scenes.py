"""Pictures with faces of several sizes, for the detector's gate."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Final

import cv2
import numpy as np

from ..core.types import Image
from .portraits import portraits

MIN_FACE: Final = 20

# A picture's height and width, and for each face in it: which portrait, its side in pixels (the
# face is 0.48 of it), its left and top, whether mirrored, and its brightness.
_Face = tuple[int, int, int, int, bool, float]
_SCENES: Final[tuple[tuple[int, int, tuple[_Face, ...]], ...]] = (
    (208, 208, ((0, 208, 0, 0, False, 1.0),)),
    (208, 208, ((1, 208, 0, 0, True, 1.0),)),
    (
        360,
        640,
        (
            (0, 208, 20, 20, True, 1.0),
            (1, 150, 250, 40, False, 0.8),
            (0, 104, 420, 30, False, 0.6),
            (1, 84, 540, 30, True, 1.0),
            (1, 180, 420, 170, False, 1.0),
            (0, 120, 260, 220, True, 1.0),
            (1, 96, 60, 245, True, 0.5),
        ),
    ),
)


@cache
def scenes() -> tuple[Image, ...]:
    """H×W×3 BGR uint8 each; not to be written to."""
    return tuple(_scene(*scene) for scene in _SCENES)


@cache
def digest() -> str:
    """SHA-256 of the scenes: they differ where OpenCV decodes or resizes otherwise."""
    return hashlib.sha256(b"".join(image.tobytes() for image in scenes())).hexdigest()


def _scene(height: int, width: int, faces: tuple[_Face, ...]) -> Image:
    # A slope of grey with some grain: neither flat nor full of edges.
    slope = np.linspace(60, 180, width)[None, :, None] + np.linspace(-30, 30, height)[:, None, None]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    picture = np.clip(slope + grain, 0, 255).astype(np.uint8)
    for who, side, left, top, mirrored, light in faces:
        image = portraits()[who].image
        image = image[:, ::-1] if mirrored else image
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        picture[top : top + side, left : left + side] = np.round(small * light)
    picture.setflags(write=False)
    return picture
