"""Alignment: the transform's invariants, and what lands on the template."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.align import TEMPLATE_112, align_faces, similarity_transforms
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

scales = st.floats(0.2, 8)
angles = st.floats(-3.1, 3.1)
shifts = st.floats(-500, 500)


def similarity(scale: float, angle: float, x: float, y: float) -> NDArray[Any]:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


def apply(matrix: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


@given(scales, angles, shifts, shifts)
def test_a_similar_figure_lands_on_the_template(
    scale: float, angle: float, x: float, y: float
) -> None:
    landmarks = apply(similarity(scale, angle, x, y), TEMPLATE_112.astype(np.float64))
    matrix = similarity_transforms(landmarks[None])[0]
    assert apply(matrix, landmarks) == pytest.approx(TEMPLATE_112, abs=1e-3)


@given(st.integers(0, 10_000))
def test_no_small_change_of_the_transform_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    landmarks = TEMPLATE_112 + rng.normal(0, 10, (5, 2))
    matrix = similarity_transforms(landmarks[None])[0]
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[0, 1] == -matrix[1, 0]
    best = ((apply(matrix, landmarks) - TEMPLATE_112) ** 2).sum()
    for _ in range(20):
        da, db, dx, dy = rng.normal(0, 1e-3, 4)
        other = matrix + np.array([[da, -db, dx], [db, da, dy]])
        assert ((apply(other, landmarks) - TEMPLATE_112) ** 2).sum() >= best - 1e-9


def test_umeyama_of_scikit_image_agrees() -> None:
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(1)
    landmarks = TEMPLATE_112 * 2.5 + rng.normal(0, 4, (6, 5, 2)) + 40
    for points, matrix in zip(landmarks, similarity_transforms(landmarks), strict=True):
        theirs = transform.SimilarityTransform.from_estimate(points, TEMPLATE_112.astype(float))
        assert matrix == pytest.approx(theirs.params[:2], abs=1e-6)


def spots(landmarks: NDArray[Any], radius: int) -> Image:
    """A black picture with a white disc at each landmark."""
    image = np.zeros((900, 900, 3), np.uint8)
    for x, y in landmarks:
        centre = (round(float(x) * 16), round(float(y) * 16))
        cv2.circle(image, centre, radius * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2.0, 3.3, 5.0])
@pytest.mark.parametrize("angle", [-0.6, 0.0, 2.5])
def test_the_picture_follows_its_landmarks(scale: float, angle: float) -> None:
    """Also through the averaging that large faces get before they are warped."""
    matrix = similarity(scale, angle, 0, 0)
    centre = 450 - apply(matrix, np.array([[56.0, 56.0]]))[0]
    landmarks = apply(matrix, TEMPLATE_112.astype(np.float64)) + centre
    radius = max(2, round(4 * scale))
    crop = align_faces(spots(landmarks, radius), landmarks[None])[0]
    for x, y in TEMPLATE_112:
        column, row = round(float(x)), round(float(y))
        window = crop[row - 8 : row + 9, column - 8 : column + 9, 0].astype(float)
        rows, columns = np.mgrid[row - 8 : row + 9, column - 8 : column + 9]
        assert (window * columns).sum() / window.sum() == pytest.approx(x, abs=0.35)
        assert (window * rows).sum() / window.sum() == pytest.approx(y, abs=0.35)


def test_a_large_face_is_averaged_not_sampled() -> None:
    """A checkerboard of single pixels becomes grey, where sampling makes patterns."""
    image = np.zeros((800, 800, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    crop = align_faces(image, (TEMPLATE_112 * 6)[None] + 20)[0]
    assert abs(float(crop.mean()) - 127) < 3
    assert float(crop.std()) < 20


def test_shapes_sizes_and_edges() -> None:
    image = np.full((50, 60, 3), 200, np.uint8)
    assert align_faces(image, np.zeros((0, 5, 2), np.float32)).shape == (0, 112, 112, 3)
    outside = align_faces(image, TEMPLATE_112[None] + 5000)
    assert outside.shape == (1, 112, 112, 3)
    assert outside.max() == 0
    far = align_faces(image, TEMPLATE_112[None] * 40 - 3000)
    assert far.shape == (1, 112, 112, 3)
    same_point = align_faces(image, np.full((1, 5, 2), 20.0))
    assert same_point.max() == 200
    broken = np.full((1, 5, 2), np.nan)
    assert align_faces(image, broken).max() == 0
    half = align_faces(image, TEMPLATE_112[None], size=56)
    assert half.shape == (1, 56, 56, 3)
    with pytest.raises(ValueError, match="N×5×2"):
        align_faces(image, np.zeros((5, 2)))


def test_a_margin_is_kept_around_the_template() -> None:
    image = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    landmarks = TEMPLATE_112[None] * 1.2 + 30
    wide = align_faces(image, landmarks, margin=8)
    assert wide.shape == (1, 128, 128, 3)
    inside = wide[:, 8:120, 8:120].astype(int) - align_faces(image, landmarks)
    assert np.abs(inside).max() <= 1


def test_several_faces_are_cut_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (400, 500, 3), dtype=np.uint8)
    landmarks = TEMPLATE_112 * rng.uniform(0.6, 3, (5, 1, 1)) + rng.uniform(0, 150, (5, 1, 2))
    together = align_faces(image, landmarks)
    for crop, points in zip(together, landmarks, strict=True):
        assert (crop == align_faces(image, points[None])[0]).all()
