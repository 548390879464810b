"""How much a detection promises before it is embedded: size, pose, certainty."""

from __future__ import annotations

import numpy as np

from ..core.types import Faces, Floats

# The encoder sees 112 pixels: more than that in the frame adds nothing.
FULL_SIDE = 112.0


def quality(faces: Faces) -> Floats:
    """N float32 in 0..1: detector score × size × how frontal the landmarks are.

    Frontal means the nose lies midway between the eyes along the line through them: the ratio of
    the shorter to the longer side is 1 for a frontal face and near 0 for a profile.
    """
    if not len(faces):
        return np.zeros(0, np.float32)
    side = np.sqrt(
        np.maximum(faces.boxes[:, 2] - faces.boxes[:, 0], 0)
        * np.maximum(faces.boxes[:, 3] - faces.boxes[:, 1], 0)
    )
    left, right, nose = faces.landmarks[:, 0], faces.landmarks[:, 1], faces.landmarks[:, 2]
    axis = right - left
    length = np.maximum(np.linalg.norm(axis, axis=1), 1e-6)
    # Where the nose falls along the line of the eyes: 0 at the left eye, 1 at the right.
    along = np.sum((nose - left) * axis, axis=1) / length**2
    frontal = np.clip(1 - np.abs(along - 0.5) * 2, 0.05, 1)
    result: Floats = (faces.scores * np.minimum(side / FULL_SIDE, 1) * frontal).astype(np.float32)
    return result
