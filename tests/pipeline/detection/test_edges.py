"""Faces at the picture's edge, and photos that were cut to the face."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.engines.options import Serving
from facestream.pipeline import FaceAnalyzer, Gallery
from facestream.pipeline.core.images import decode_image
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn

pytestmark = pytest.mark.shared_data
PICTURES = 16


@dataclass(frozen=True, slots=True)
class Known:
    """A picture with the box 4 and landmarks 5×2 of the face in its middle."""

    image: Image
    box: Floats
    landmarks: Floats

    @property
    def side(self) -> float:
        return float((self.box[2:] - self.box[:2]).max())

    def cut(self, left: float, top: float, right: float, bottom: float) -> Known:
        """The part between these shares of the box's width and height, as far as there is any."""
        height, width = self.image.shape[:2]
        size = self.box[2:] - self.box[:2]
        corners = np.array([(left, top), (right, bottom)]) * size + self.box[:2]
        (x1, y1), (x2, y2) = np.clip(corners.round().astype(int), 0, (width, height))
        part = np.ascontiguousarray(self.image[y1:y2, x1:x2])
        return Known(part, self.box - (x1, y1, x1, y1), self.landmarks - (x1, y1))

    def error(self, faces: Faces) -> float:
        """Mean distance of the best face's landmarks, in shares of the face; inf without one."""
        off = np.linalg.norm(faces.landmarks - self.landmarks, axis=-1).mean(axis=1)
        return float(off.min(initial=np.inf)) / self.side


@pytest.fixture(scope="module")
def fast() -> Iterator[Mtcnn]:
    with Mtcnn(min_face=40, serving=Serving(threads=2)) as found:
        yield found


@pytest.fixture(scope="module")
def known(shared_data: Path, fast: Mtcnn) -> list[Known]:
    with zipfile.ZipFile(shared_data / "lfw" / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        step = len(names) // PICTURES
        images = [decode_image(archive.read(n), name=n) for n in names[3 : PICTURES * step : step]]
    found = []
    for image, faces in zip(images, fast.detect_batch(images), strict=True):
        middle = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        row = int(np.argmin(np.linalg.norm(middle - 125, axis=1)))
        found.append(Known(image, faces.boxes[row], faces.landmarks[row]))
    return found


@pytest.mark.parametrize(
    "part",
    [(0.2, -9, 9, 9), (0.33, -9, 9, 9), (-9, -9, 0.67, 9), (-9, 0.2, 9, 9), (-9, -9, 9, 0.67)],
    ids=["a fifth left", "a third left", "a third right", "a fifth above", "a third below"],
)
def test_faces_that_reach_beyond_the_edge(
    fast: Mtcnn, known: list[Known], part: tuple[float, float, float, float]
) -> None:
    """facenet-pytorch's way finds their landmarks in none to a fifth of them."""
    cuts = [one.cut(*part) for one in known]
    errors = np.array([one.error(fast.detect(one.image)) for one in cuts])
    assert np.median(errors) < 0.05
    assert np.mean(errors < 0.1) > 0.8


def test_photos_that_are_cut_to_the_face(known: list[Known]) -> None:
    parts = [(0.0, 0.0, 1.0, 1.0), (0.05, 0.05, 0.95, 0.95), (0.1, 0.1, 0.9, 0.9)]
    cuts = [one.cut(*part) for one in known for part in parts]
    with FaceAnalyzer() as analyzer:
        found = [one.faces for one in analyzer.analyze_batch([cut.image for cut in cuts])]
    errors = np.array([cut.error(faces) for cut, faces in zip(cuts, found, strict=True)])
    assert np.median(errors) < 0.03
    assert np.isfinite(errors).mean() >= 0.98
    assert (errors[np.isfinite(errors)] < 0.1).all()
    assert max(map(len, found)) == 1


def test_a_tight_portrait_is_enrolled(tmp_path: Path, shared_cases: Path) -> None:
    photo = shared_cases / "04-hopper-tight90.jpg"
    with FaceAnalyzer() as analyzer, Gallery(tmp_path / "g.db", reader=analyzer) as gallery:
        (result,) = gallery.add("Hopper", photo)
    assert result.accepted


def test_a_picture_without_faces_has_none_after_the_second_look_either() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, 300, dtype=np.float32)[:, None, None] * np.ones((1, 200, 3))
    with FaceAnalyzer() as analyzer:
        for image in (noise, slope.astype(np.uint8), cv2.blur(noise, (15, 15)).astype(np.uint8)):
            assert len(analyzer.analyze(image)) == 0
