"""A reader that needs no networks: what it finds is written in the picture's pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from facestream.pipeline.core.types import Faces, Floats, Image


class PixelReader:
    """Pixel (0, 0) is (faces, side, person); a person's crops have nearly the same embedding."""

    def __init__(self, model_id: str = "pixels-1", dim: int = 16) -> None:
        self.model_id = model_id
        self.dim = dim
        self.embedded = 0

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        count, side = int(image[0, 0, 0]), int(image[0, 0, 1])
        if len(set(image[0, 0].tolist())) == 1:
            count = 0  # another corner of a turned picture
        boxes = np.array([[10 * i, 5, 10 * i + side, 5 + side] for i in range(count)], np.float32)
        return Faces(
            boxes=boxes.reshape(count, 4),
            scores=np.full(count, 0.999, np.float32),
            landmarks=np.full((count, 5, 2), 20, np.float32),
        )

    def align(self, image: Image, landmarks: Floats) -> Image:
        return np.broadcast_to(image[:112, :112], (len(landmarks), 112, 112, 3)).copy()

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        self.embedded += len(crops)
        mu = np.zeros((len(crops), self.dim), np.float32)
        for row, crop in zip(mu, crops, strict=True):
            row[:] = np.random.default_rng(int(crop[0, 0, 2])).normal(size=self.dim)
            row += 0.05 * np.random.default_rng(int(crop.sum())).normal(size=self.dim)
        return mu, np.full_like(mu, -1.0)


def paint(
    path: Path, *, person: int = 1, faces: int = 1, side: int = 60, shade: int | None = None
) -> Path:
    """A picture of 120×120 for ``PixelReader``; the file's name decides its shade."""
    grey = sum(path.name.encode()) % 251 if shade is None else shade
    image = np.full((120, 120, 3), grey, np.uint8)
    image[0, 0] = faces, side, person
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path
