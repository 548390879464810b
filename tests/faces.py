"""Clips and pictures with a real face: the public-domain ``astronaut`` that scikit-image ships."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Image

from tests.media import Size, make_clip


@functools.cache
def portrait_path() -> Path:
    """The picture, 512×512, one face of about 100 pixels."""
    import importlib.util

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("scikit-image is not installed")
    return Path(spec.origin).parent / "data" / "astronaut.png"


@functools.cache
def portrait() -> Image:
    """The picture as BGR; not to be changed."""
    image = read_image(portrait_path())
    image.setflags(write=False)
    return image


def walking_face(index: int, size: Size) -> Image:
    """A grey wall and the face, which moves two pixels to the right each frame."""
    width, height = size
    wall = np.full((height, width, 3), 110, np.uint8)
    face = cv2.resize(portrait()[30:220, 130:320], (height // 2, height // 2))
    left = (10 + 2 * index) % (width - height // 2)
    wall[height // 4 : height // 4 + height // 2, left : left + height // 2] = face
    return wall


def face_clip(path: Path, *, frames: int = 20, size: Size = (320, 240)) -> Path:
    """A clip of `walking_face`."""
    return make_clip(path, frames=frames, size=size, fps=25, draw=walking_face)
