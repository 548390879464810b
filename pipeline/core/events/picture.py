"""The picture of a face that goes with an event."""

from __future__ import annotations

import math

import numpy as np

from ..types import Floats, Image


def face_picture(image: Image, box: Floats, *, margin: float = 0.35, largest: int = 320) -> Image:
    """A copy of the frame around a face, for people to look at.

    Args:
        image: H×W×3 BGR uint8.
        box: x1, y1, x2, y2 in pixels; may reach outside the picture.
        margin: added on each side, as a part of the box's longer side.
        largest: longest side of the copy in pixels; larger ones are shrunk.

    Returns:
        At least 1×1 pixel, BGR uint8, its own memory.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in box)
    extra = margin * max(x2 - x1, y2 - y1)
    left = min(max(int(x1 - extra), 0), width - 1)
    top = min(max(int(y1 - extra), 0), height - 1)
    right = max(min(math.ceil(x2 + extra), width), left + 1)
    bottom = max(min(math.ceil(y2 + extra), height), top + 1)
    crop = image[top:bottom, left:right]
    scale = largest / max(crop.shape[:2])
    if scale >= 1:
        return crop.copy()
    import cv2

    size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
