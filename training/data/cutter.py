"""Finds the main face of pictures, and cuts faces as training wants them: 128×128."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.closing import Closing
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import TEMPLATE_112, align_faces, similarity_transforms
from numpy.typing import NDArray

from .face_sets import MARGIN, SIDE

# Larger pictures are searched on a reduced copy; the face is still cut from the original.
SEARCH_SIDE: Final = 1280
DETECTOR_NETS: Final = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")

# Which faces of a picture to take: the main one, or all.
Which = Literal["main", "all"]


def choose_face(faces: Faces, shape: tuple[int, ...]) -> list[int]:
    """Row of the main face of a picture H×W: large and near the centre; empty without faces.

    The area less twice the squared distance to the centre, as facenet's evaluation does it.
    """
    if not len(faces):
        return []
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    offset = centres - np.array([shape[1] / 2, shape[0] / 2], np.float32)
    return [int(np.argmax(sides.prod(axis=1) - 2.0 * (offset**2).sum(axis=1)))]


def main_faces(detector: Mtcnn, pictures: Sequence[Image]) -> list[Faces]:
    """The main face of each picture: one, or none where none is found."""
    return [
        faces.take(choose_face(faces, picture.shape))
        for picture, faces in zip(pictures, detector.detect_batch(list(pictures)), strict=True)
    ]


def detector_ids() -> list[str]:
    """Ids of the detector's networks."""
    return [load_card(name).id for name in DETECTOR_NETS]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A face cut out.

    Attributes:
        picture: 128×128×3 BGR uint8.
        score: the detector's probability.
        face_px: width of the face in its source, pixels.
        beyond: share of the cut that lies beyond the picture's edge (black there), 0..1.
    """

    picture: Image
    score: float
    face_px: float
    beyond: float


@dataclass(frozen=True, slots=True, eq=False)
class PictureFaces:
    """The faces taken of one picture and how many were seen in it."""

    cuts: tuple[Cut, ...]
    seen: int


class Cutter(Closing):
    """Finds and cuts faces.

    Args:
        min_face: smallest faces to find, the longer side in pixels.
        min_score: least probability of the detector, 0..1.
        threads: CPU threads; None takes all cores.

    Attributes:
        settings: changes with what it finds, for caches.
    """

    def __init__(self, *, min_face: int, min_score: float, threads: int | None = None) -> None:
        self._detector = Mtcnn(min_face=min_face, serving=Serving(threads=threads))
        self._min_face, self._min_score = min_face, min_score
        self.settings = [*detector_ids(), f"{min_face} px", f"{min_score:g}"]

    def cut(self, images: Sequence[Image], *, which: Which) -> list[PictureFaces]:
        """The faces of each picture.

        Args:
            images: H×W×3 BGR uint8 each.
            which: ``main`` takes the largest, most central face; ``all`` takes every one.
        """
        scales = [min(1.0, SEARCH_SIDE / max(image.shape[:2])) for image in images]
        searched = [_reduced(i, s) if s < 1 else i for i, s in zip(images, scales, strict=True)]
        detected = self._detector.detect_batch(searched) if searched else []
        found = []
        for image, scale, faces in zip(images, scales, detected, strict=True):
            sure = _enlarged(faces.take(faces.scores >= self._min_score), scale)
            # The networks' last step may shrink a box well below the size searched for.
            sides = (sure.boxes[:, 2:] - sure.boxes[:, :2]).max(axis=1, initial=0)
            sure = sure.take(sides >= self._min_face)
            every = list(range(len(sure)))
            rows = choose_face(sure, image.shape) if which == "main" else every
            found.append(PictureFaces(tuple(_cut(image, sure, row) for row in rows), len(sure)))
        return found

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()


def _reduced(image: Image, scale: float) -> Image:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(faces: Faces, scale: float) -> Faces:
    """Detections on a reduced copy in pixels of the original."""
    if scale == 1:
        return faces
    # A pixel's centre is at a whole number, its edge half a pixel before.
    return Faces(
        boxes=(faces.boxes + 0.5) / scale - 0.5,
        scores=faces.scores,
        landmarks=(faces.landmarks + 0.5) / scale - 0.5,
    )


def _cut(image: Image, faces: Faces, row: int) -> Cut:
    landmarks = faces.landmarks[row][None]
    return Cut(
        picture=align_faces(image, landmarks, margin=MARGIN)[0],
        score=float(faces.scores[row]),
        face_px=float(faces.boxes[row, 2] - faces.boxes[row, 0]),
        beyond=_beyond(image, landmarks),
    )


def _beyond(image: Image, landmarks: NDArray[np.float32]) -> float:
    """Share of the cut that the picture does not reach, from a grid of 32×32 points."""
    matrix = similarity_transforms(landmarks, TEMPLATE_112 + MARGIN)[0]
    if not np.isfinite(matrix).all():
        return 1.0
    line = (np.arange(32) + 0.5) * SIDE / 32 - 0.5
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    inside = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    height, width = image.shape[:2]
    outside = (inside < -0.5).any(axis=1) | (inside > (width - 0.5, height - 0.5)).any(axis=1)
    return float(outside.mean())
