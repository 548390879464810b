"""Alignment on a device against ``vision.align``, which samples with cv2."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.recognition import align as cpu
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.resident import ResidentDetector
from facestream.pipeline.detection.resident.align import align_faces, similarity_transforms
from facestream.pipeline.detection.resident.table import summed

pytestmark = pytest.mark.usefixtures("one_torch_thread")

# Grey levels. cv2 5 rounds the result alone; cv2 4 also rounds the place to 1/32 of a pixel, and
# beside an edge of 255 half of that is 4 levels.
LIMIT = 1 if int(cv2.__version__.split(".")[0]) >= 5 else 5

# Few enough crops' pixels may be off at all.
MEAN = 0.2 if LIMIT == 1 else 1.0


@pytest.fixture(scope="module")
def device(device: str) -> Any:
    return torch.device(device)


@pytest.fixture(scope="module")
def pictures() -> Image:
    """Three pictures, smooth enough that a pixel's place and not its noise decides."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 240, 320, 3), dtype=np.uint8)
    return np.stack([cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise]).astype(np.uint8)


def landmarks(seed: int, scale: float, angle: float, x: float, y: float) -> Floats:
    """A face somewhere, not quite like the template."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = cpu.TEMPLATE_112 - cpu.TEMPLATE_112.mean(axis=0)
    shake = np.random.default_rng(seed).normal(0, 1.5, (5, 2))
    return np.asarray(((points + shake) @ turn.T) * scale + [x, y], np.float32)


faces = st.tuples(
    st.integers(0, 1000),
    st.floats(0.15, 6),
    st.floats(-3.1, 3.1),
    st.floats(-60, 380),
    st.floats(-60, 300),
)


def aligned(device: Any, pictures: Image, owners: list[int], points: Floats, **sizes: int) -> Image:
    crops = align_faces(
        summed(torch.from_numpy(pictures).to(device)),
        torch.tensor(owners, device=device),
        torch.from_numpy(points).to(device),
        **sizes,
    )
    return np.asarray(crops.cpu().numpy())


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), faces), min_size=1, max_size=3),
    st.sampled_from([(112, 0), (112, 8), (96, 3)]),
)
def test_crops_are_cv2_s(
    device: Any,
    pictures: Image,
    wanted: list[tuple[int, tuple[int, float, float, float, float]]],
    sizes: tuple[int, int],
) -> None:
    """Small faces and such as are averaged down first, turned, and cut at the picture's edge."""
    size, margin = sizes
    owners = [owner for owner, _ in wanted]
    points = np.stack([landmarks(*face) for _, face in wanted])
    crops = aligned(device, pictures, owners, points, size=size, margin=margin)
    for owner, point, crop in zip(owners, points, crops, strict=True):
        (reference,) = cpu.align_faces(pictures[owner], point[None], size=size, margin=margin)
        off = np.abs(reference.astype(int) - crop)
        assert off.max() <= LIMIT
        assert off.mean() <= MEAN


@given(st.lists(faces, min_size=1, max_size=4))
def test_transforms_are_the_cpu_s(device: Any, wanted: list[tuple[Any, ...]]) -> None:
    points = np.stack([landmarks(*face) for face in wanted])
    template = torch.from_numpy(cpu.TEMPLATE_112.astype(np.float64)).to(device)
    found = similarity_transforms(torch.from_numpy(points).to(device).double(), template)
    assert found.cpu().numpy() == pytest.approx(cpu.similarity_transforms(points), abs=1e-9)


def test_landmarks_that_are_no_face(device: Any, pictures: Image) -> None:
    """All in one point, nowhere at all, or far outside."""
    points = np.stack(
        [
            np.full((5, 2), 50, np.float32),
            np.full((5, 2), np.nan, np.float32),
            landmarks(0, 1, 0, 5000, -5000),
        ]
    )
    crops = aligned(device, pictures, [0, 1, 2], points)
    reference = np.concatenate([cpu.align_faces(pictures[i], points[i : i + 1]) for i in range(3)])
    assert np.abs(crops.astype(int) - reference).max() <= LIMIT
    assert not crops[1:].any()


def test_no_faces_have_no_crops(device: Any, pictures: Image) -> None:
    crops = aligned(device, pictures, [], np.zeros((0, 5, 2), np.float32), margin=8)
    assert crops.shape == (0, 128, 128, 3)


def test_the_detector_gives_crops_with_its_faces(device: Any) -> None:
    data = pytest.importorskip("skimage.data")
    astronaut = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    images = [astronaut, astronaut[:30, :30], np.zeros_like(astronaut), astronaut[:, ::-1]]
    serving = Serving(backend="torch", device=device.type)
    with ResidentDetector(min_face=40, serving=serving) as detector:
        results = detector.detect_and_align(images, margin=8)
    assert [len(found) for found, _ in results] == [1, 0, 0, 1]
    for image, (found, crops) in zip(images, results, strict=True):
        assert crops.shape == (len(found), 128, 128, 3)
        assert crops.dtype == np.uint8
        reference = cpu.align_faces(image, found.landmarks, margin=8)
        assert np.abs(crops.astype(int) - reference).max(initial=0) <= LIMIT
