"""Cuts faces out upright and of one size, by their five landmarks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.types import Image

# Where the five landmarks lie in an aligned face of 112×112: ArcFace's template
# (Deng et al., 2019, insightface), used by nearly all recognisers.
TEMPLATE_112: NDArray[np.float32] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
TEMPLATE_112.setflags(write=False)


def similarity_transforms(
    landmarks: NDArray[Any], template: NDArray[Any] = TEMPLATE_112
) -> NDArray[np.float64]:
    """Least-squares similarity transforms that take landmarks to the template.

    The closed form in the plane of Umeyama, 1991: with centred points read as complex numbers
    p and q the rotation and scale is conj(p)·q / |p|². It never mirrors.

    Args:
        landmarks: N×K×2, K at least 2.
        template: K×2.

    Returns:
        N×2×3. Where all landmarks are one point the scale is undefined; there it is 1.
    """
    points = np.asarray(landmarks, np.float64)
    target = np.asarray(template, np.float64)
    centre, goal = points.mean(axis=1), target.mean(axis=0)
    p, q = points - centre[:, None], target - goal
    spread = (p**2).sum(axis=(1, 2))
    cosine = (p * q).sum(axis=(1, 2))
    sine = (p[..., 0] * q[:, 1] - p[..., 1] * q[:, 0]).sum(axis=1)
    flat = spread < 1e-12
    spread = np.where(flat, 1.0, spread)
    cosine = np.where(flat, 1.0, cosine / spread)
    sine = np.where(flat, 0.0, sine / spread)
    matrices = np.empty((len(points), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = cosine
    matrices[:, 0, 1], matrices[:, 1, 0] = -sine, sine
    matrices[:, :, 2] = goal - np.einsum("nij,nj->ni", matrices[:, :, :2], centre)
    return matrices


def align_faces(
    image: Image, landmarks: NDArray[Any], *, size: int = 112, margin: int = 0
) -> Image:
    """Cut out faces so that their landmarks lie on the template.

    Args:
        image: H×W×3 uint8.
        landmarks: N×5×2 in pixels of the image: left eye, right eye, nose, left and right
            corner of the mouth, left and right as seen in the picture.
        size: side of the template in pixels.
        margin: pixels to keep around the template on each side.

    Returns:
        N×S×S×3 uint8 with S = size + 2·margin, in the image's colour order; black where the crop
        leaves the image.

    Raises:
        ValueError: the landmarks are not N×5×2.
    """
    landmarks = np.asarray(landmarks)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be N×5×2, not {landmarks.shape}")
    side = size + 2 * margin
    crops = np.zeros((len(landmarks), side, side, 3), np.uint8)
    if not len(landmarks):
        return crops
    matrices = similarity_transforms(landmarks, TEMPLATE_112 * (size / 112) + margin)
    for matrix, crop in zip(matrices, crops, strict=True):
        if np.isfinite(matrix).all():
            _warp(image, matrix, crop)
    return crops


def _warp(image: Image, matrix: NDArray[np.float64], crop: Image) -> None:
    """Fill ``crop`` with the image seen through ``matrix``."""
    factor = int(1 / max(np.hypot(matrix[0, 0], matrix[1, 0]), 1e-6))
    if factor >= 2:
        # Bilinear sampling reads 2×2 pixels: a large face is first averaged down, or it aliases.
        image, matrix = _shrunk(image, matrix, factor, crop.shape[0])
    if image.size:
        side = crop.shape[0]
        cv2.warpAffine(image, matrix, (side, side), dst=crop, flags=cv2.INTER_LINEAR)


def _shrunk(
    image: Image, matrix: NDArray[np.float64], factor: int, side: int
) -> tuple[Image, NDArray[np.float64]]:
    """The part of the image that the crop sees, averaged in blocks, and the matrix for it."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    left, top = np.clip(np.floor(seen.min(axis=0)).astype(int) - factor, 0, (width, height))
    right, bottom = np.clip(np.ceil(seen.max(axis=0)).astype(int) + factor, 0, (width, height))
    # Whole blocks, so that every pixel of the result is the mean of factor×factor.
    columns, rows = (right - left) // factor, (bottom - top) // factor
    if columns == 0 or rows == 0:
        return image, matrix
    part = image[top : top + rows * factor, left : left + columns * factor]
    small = cv2.resize(part, (int(columns), int(rows)), interpolation=cv2.INTER_AREA)
    # A block's centre lies (factor − 1) / 2 pixels behind its first pixel.
    centre = np.array([left, top]) + (factor - 1) / 2
    moved = matrix * [[factor, factor, 1.0]]
    moved[:, 2] += matrix[:, :2] @ centre
    return np.asarray(small, np.uint8), moved
