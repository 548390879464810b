"""Which detection continues which track: an assignment by overlap, then by distance."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..types import Floats
from ..vision.boxes import iou_matrix

# A track whose face moved more than its own overlap allows (a fast head, few detections a
# second) is still the nearest face of about the same size.
MAX_SHIFT = 0.6  # of the mean box side
MAX_SIZE_RATIO = 1.6


def associate(predicted: Floats, detected: Floats, *, min_iou: float) -> list[tuple[int, int]]:
    """Pairs of (track row, detection row), each row at most once.

    Args:
        predicted: T×4 boxes where the tracks are expected.
        detected: N×4 boxes that were found.
        min_iou: overlap from which two boxes are the same face, 0..1.
    """
    if not len(predicted) or not len(detected):
        return []
    overlap = iou_matrix(predicted, detected)
    pairs = _assign(overlap, min_iou)
    free_tracks = np.setdiff1d(np.arange(len(predicted)), [t for t, _ in pairs])
    free_faces = np.setdiff1d(np.arange(len(detected)), [d for _, d in pairs])
    if free_tracks.size and free_faces.size:
        near = _nearness(predicted[free_tracks], detected[free_faces])
        pairs += [(int(free_tracks[t]), int(free_faces[d])) for t, d in _assign(near, 1e-6)]
    return pairs


def _assign(score: Floats, least: float) -> list[tuple[int, int]]:
    """The pairs of the highest total score among those that reach ``least``."""
    allowed = np.where(score >= least, score, 0.0)
    rows, columns = linear_sum_assignment(allowed, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if score[r, c] >= least]


def _nearness(a: Floats, b: Floats) -> Floats:
    """T×N in 0..1: 1 at the same centre, 0 beyond MAX_SHIFT or MAX_SIZE_RATIO."""
    size_a = np.sqrt((a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))
    size_b = np.sqrt((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]))
    centre_a = (a[:, :2] + a[:, 2:]) / 2
    centre_b = (b[:, :2] + b[:, 2:]) / 2
    shift = np.linalg.norm(centre_a[:, None] - centre_b[None], axis=2)
    side = (size_a[:, None] + size_b[None]) / 2
    ratio = np.maximum(size_a[:, None], size_b[None]) / np.maximum(
        np.minimum(size_a[:, None], size_b[None]), 1e-6
    )
    near = np.clip(1 - shift / np.maximum(MAX_SHIFT * side, 1e-6), 0, 1)
    result: Floats = np.where(ratio <= MAX_SIZE_RATIO, near, 0.0).astype(np.float32)
    return result
