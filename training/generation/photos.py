"""Faces of photos for the generator, and back again into the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces, similarity_transforms
from numpy.typing import NDArray

from ..errors import DataError
from ..models.backbones import INPUT_SIZE

Picture = NDArray[np.uint8]
MIN_FACE = 30


@dataclass(frozen=True, slots=True, eq=False)
class PhotoFace:
    """The main face of a photo.

    Attributes:
        path: of the photo.
        photo: H×W×3 BGR.
        crop: 112×112×3 RGB, aligned.
        matrix: 2×3, from the photo to the crop.
    """

    path: Path
    photo: Image
    crop: Picture
    matrix: NDArray[np.float64]

    def hole_of(self, marked: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """What a mask of the photo (H×W, 0 or 1) covers of the aligned face, 112×112."""
        size = (INPUT_SIZE, INPUT_SIZE)
        return np.asarray(cv2.warpAffine(marked, self.matrix, size, flags=cv2.INTER_NEAREST) > 0)

    def put_back(self, crop: Picture, hole: NDArray[np.bool_]) -> Image:
        """The photo (BGR) with the hole's part of a changed crop (RGB) in its place."""
        height, width = self.photo.shape[:2]
        size, back = (width, height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        bgr = np.ascontiguousarray(crop[:, :, ::-1])
        part = cv2.warpAffine(bgr, self.matrix, size, flags=back, borderMode=cv2.BORDER_REPLICATE)
        share = np.asarray(cv2.warpAffine(hole.astype(np.float32), self.matrix, size, flags=back))
        mixed = self.photo * (1 - share[:, :, None]) + part * share[:, :, None]
        return np.asarray(mixed.round().clip(0, 255), np.uint8)


def read_faces(paths: Sequence[Path]) -> list[PhotoFace]:
    """The largest face of each photo.

    Raises:
        DataError: a photo cannot be read, is itself marked as synthetic, or shows no face.
    """
    found = []
    with Mtcnn(min_face=MIN_FACE) as detector:
        for path in paths:
            try:
                photo = read_image(path)
            except UsageError as error:
                raise DataError(str(error)) from error
            faces = detector.detect(photo)
            if not len(faces):
                raise DataError(
                    f"no face was found in {path}; give a photo with a face of at least "
                    f"{MIN_FACE} pixels"
                )
            found.append(_cut(path, photo, faces))
    return found


def aligned_face(path: Path) -> PhotoFace:
    """A picture that is an aligned 112×112 face already.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    try:
        photo = read_image(path)
    except UsageError as error:
        raise DataError(str(error)) from error
    if photo.shape != (INPUT_SIZE, INPUT_SIZE, 3):
        raise DataError(
            f"{path} is {photo.shape[1]}×{photo.shape[0]}; an aligned face is "
            f"{INPUT_SIZE}×{INPUT_SIZE}: leave --aligned out to have it found"
        )
    plain = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return PhotoFace(path, photo, np.ascontiguousarray(photo[:, :, ::-1]), plain)


def _cut(path: Path, photo: Image, faces: Faces) -> PhotoFace:
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    best = int(np.argmax(sides.prod(axis=1)))
    landmarks = faces.landmarks[best][None]
    crop = align_faces(photo, landmarks)[0]
    return PhotoFace(
        path, photo, np.ascontiguousarray(crop[:, :, ::-1]), similarity_transforms(landmarks)[0]
    )
