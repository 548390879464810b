"""Counts how far two detectors agree, and the real pictures they are compared on."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.images import decode_image, read_image
from facestream.pipeline.core.types import Faces, Floats, Image
from numpy.typing import NDArray

LFW_PICTURES = 60
FRAMES = 8

# Detections that count: facenet-pytorch's, and ours when we look for extra ones.
SURE = 0.9


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When two detections are one: IoU, and the farthest landmark in pixels or of the width.

    Those nearer to the picture's edge than ``margin`` of their width do not count.
    """

    iou: float
    pixels: float | None = None
    widths: float | None = None
    margin: float = -np.inf


EXACT = Tolerance(iou=0.98, pixels=1.0)
# Where a window reaches beyond the edge, fast mode fills it and facenet-pytorch stretches it.
FAST = Tolerance(iou=0.90, widths=0.02, margin=0.5)


@dataclass(slots=True)
class Agreement:
    """Counts over many pictures; ``wanted`` are the peer's detections, ``given`` ours."""

    wanted: int = 0
    found: int = 0
    given: int = 0
    extra: int = 0

    def add(
        self, picture: Image, peer: tuple[Floats, Floats, Floats], ours: Faces, tolerance: Tolerance
    ) -> None:
        """Count one picture: the peer's boxes, probabilities and landmarks against ours."""
        boxes, probabilities, landmarks = peer
        overlap = np.asarray(iou_matrix(boxes, ours.boxes) >= tolerance.iou)
        far = np.linalg.norm(landmarks[:, None] - ours.landmarks[None], axis=-1)
        far = far.max(axis=-1, initial=0)
        limit = np.full(len(boxes), tolerance.pixels or 0.0)
        if tolerance.widths is not None:
            limit = tolerance.widths * (boxes[:, 2] - boxes[:, 0])
        same = np.asarray(overlap & (far <= limit[:, None]))
        sure = np.asarray(probabilities >= SURE) & _within(boxes, picture, tolerance.margin)
        self.wanted += int(sure.sum())
        self.found += int(np.asarray(same.any(axis=1))[sure].sum())
        mine = np.asarray(ours.scores >= SURE) & _within(ours.boxes, picture, tolerance.margin)
        self.given += int(mine.sum())
        self.extra += int((~np.asarray(overlap.any(axis=0)))[mine].sum())


def _within(boxes: Floats, picture: Image, margin: float) -> NDArray[np.bool_]:
    """Which boxes N×4 keep a margin, in shares of their width, from the picture's edge."""
    height, width = picture.shape[:2]
    room = np.concatenate([boxes[:, :2], (width, height) - boxes[:, 2:]], axis=1).min(axis=1)
    return np.asarray(room >= margin * (boxes[:, 2] - boxes[:, 0]))


def real_pictures(shared_data: Path) -> Iterator[Image]:
    """Photos, video frames at several sizes, and portraits; BGR."""
    for path in sorted((shared_data / "stills").glob("*/*")):
        yield read_image(path)
    for path in sorted((shared_data / "videos").glob("*.mp4")):
        for frame in _frames(path):
            yield frame
            if frame.shape[0] > 720:
                yield cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_AREA).astype(np.uint8)
    with zipfile.ZipFile(shared_data / "lfw" / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        for name in names[:: len(names) // LFW_PICTURES]:
            yield decode_image(archive.read(name), name=name)


def _frames(path: Path) -> Iterator[Image]:
    with av.open(str(path)) as container:
        step = max(1, container.streams.video[0].frames // FRAMES)
        for index, frame in enumerate(container.decode(video=0)):
            if index % step == 0:
                yield frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
