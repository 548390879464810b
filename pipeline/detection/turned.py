"""Faces of photos that lie on their side or upside down, without EXIF to say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ..core.boxes import area
from ..core.types import Faces, Image

# Of 240 portraits of LFW, 94 % had a score of 0.995 and more, the others 0.920 and more. In 1 % of
# their turns the detector found a face with 0.9 and more, up to 0.982; in turns of large portraits
# up to 0.989. The turn with the highest score was always the right one.
_UPRIGHT: Final = 0.995
_TURNED: Final = 0.9

# Least share of a turned face's box in the photo. Upright profiles that fill their photo look like
# turned faces that reach beyond it: of 600 photos cut to the face, 19 were taken for turned ones
# without this, 4 with it.
_INSIDE: Final = 0.9


def find_turned(image: Image, found: Faces, detect: Callable[[Image], Faces]) -> tuple[Faces, int]:
    """The faces of a photo, and the degrees by which it had to be turned for them.

    The photo is searched again only where no face in it is beyond doubt.

    Args:
        image: H×W×3 BGR uint8.
        found: the faces of the image as it is.
        detect: searches a picture.

    Returns:
        The faces, always in pixels of ``image``, with landmarks that lie turned as the faces do;
        and 0, 90, 180 or 270 degrees counterclockwise.
    """
    best, degrees = found, 0
    for turns in (1, 3, 2):
        if best.best_score >= _UPRIGHT:
            break
        turned = np.ascontiguousarray(np.rot90(image, turns))
        faces = _inside(detect(turned), turned)
        if faces.best_score > max(best.best_score, _TURNED):
            best, degrees = _turned_back(faces, image, turns), 90 * turns
    return best, degrees


def _inside(faces: Faces, image: Image) -> Faces:
    height, width = image.shape[:2]
    seen = area(np.clip(faces.boxes, 0, (width, height, width, height)))
    return faces.take(seen >= _INSIDE * area(faces.boxes))


def describe_turn(degrees: int) -> str:
    """A line for the user."""
    return f"the photo lies turned: its face was found after a turn by {degrees}° to the left"


def _turned_back(faces: Faces, image: Image, turns: int) -> Faces:
    """The faces of the image that was turned by quarters to the left, in pixels of the image."""
    corners = faces.boxes.reshape(-1, 2, 2)
    marks = faces.landmarks
    right, bottom = image.shape[1] - 1, image.shape[0] - 1
    scale, shift = {
        1: ((-1, 1), (right, 0)),
        2: ((-1, -1), (right, bottom)),
        3: ((1, -1), (0, bottom)),
    }[turns]
    if turns != 2:
        corners, marks = corners[..., ::-1], marks[..., ::-1]
    corners, marks = (
        points * np.array(scale, np.float32) + np.array(shift, np.float32)
        for points in (corners, marks)
    )
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Faces(boxes=boxes, scores=faces.scores, landmarks=marks)
