"""What detectors are asked: pictures and searches, checked where they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...core.types import Image
from .cascade import Search

# One size for all pictures, or one for each; None means the detector's own.
MinFaces = int | Sequence[int | None] | None


def make_search(min_face: int, factor: float, thresholds: tuple[float, float, float]) -> Search:
    """A search of these settings.

    Raises:
        ValueError: one is out of its range.
    """
    if min_face < 12:
        raise ValueError(f"min_face must be at least 12 pixels, not {min_face}")
    if not 0.1 <= factor <= 0.95:
        raise ValueError(f"factor must be from 0.1 to 0.95, not {factor}")
    if len(thresholds) != 3 or not all(0 < value < 1 for value in thresholds):
        raise ValueError(f"thresholds must be three numbers between 0 and 1, not {thresholds}")
    return Search(min_face, factor, thresholds)


def searches(own: Search, min_face: MinFaces, count: int) -> list[Search]:
    """The search of each of ``count`` pictures.

    Raises:
        ValueError: a size is below 12, or there are more or fewer of them than pictures.
    """
    sizes = [min_face] * count if min_face is None or isinstance(min_face, int) else min_face
    if len(sizes) != count:
        raise ValueError(f"min_face has {len(sizes)} sizes for {count} images")
    for size in sizes:
        if size is not None and size < 12:
            raise ValueError(f"min_face must be at least 12 pixels, not {size}")
    return [own if size is None else replace(own, min_face=size) for size in sizes]


def check_image(image: Image) -> None:
    """Refuse what is no picture.

    Raises:
        ValueError: the image is not H×W×3 uint8 with at least one pixel.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image must be H×W×3, not {shape}; see vision.images.to_bgr")
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, not {image.dtype}; see vision.images.to_bgr")
    if image.size == 0:
        raise ValueError(f"image has no pixels: {image.shape}")
