"""Training pictures of the generator: flips and small shifts, some with a hole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..data.degrade import jitter_matrix
from ..data.face_sets import FaceRow, FaceZips, centre_crop
from ..data.training_views import reconstruction_mask
from ..models.backbones import INPUT_SIZE
from .holes import random_hole

Floats = NDArray[np.float32]
# Of the shifts that teach a recogniser: small ones, or the decoder learns to blur.
JITTER: Final = 0.4


class GeneratorBatch(TypedDict):
    """One batch.

    picture: N×3×112×112 uint8 RGB. mask: N×1×112×112 uint8, 1 where reconstruction counts. known:
    the same shape, 0 in the hole that the appearance encoder does not see. target: N×D, the
    teacher's embedding. noise: N, how much noise is added to the identity.
    """

    picture: Tensor
    mask: Tensor
    known: Tensor
    target: Tensor
    noise: Tensor


class GeneratorViews(Dataset[GeneratorBatch]):
    """Item ``(epoch, index)`` is the same each time for the same seed.

    Args:
        rows: N rows.
        targets: N×D, the teacher's embeddings.
        holes: share of the views with a hole.
    """

    def __init__(
        self, folder: Path, rows: Sequence[FaceRow], targets: Floats, *, holes: float, seed: int
    ) -> None:
        self._zips = FaceZips(folder)
        self._rows = list(rows)
        self._targets = targets
        self._holes = holes
        self._seed = seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: tuple[int, int]) -> GeneratorBatch:
        epoch, index = key
        rng = np.random.default_rng((self._seed, epoch, index, 3))
        row = self._rows[index]
        image = self._zips.read(row)
        matrix = jitter_matrix(rng, size=image.shape[0], strength=JITTER)
        if rng.random() < 0.5:
            matrix = matrix.copy()
            matrix[0] *= -1
            matrix[0, 2] += INPUT_SIZE - 1
        cut = cv2.warpAffine(
            image, matrix, (INPUT_SIZE, INPUT_SIZE), borderMode=cv2.BORDER_REFLECT_101
        )
        mask = reconstruction_mask(row, image.shape[0], matrix)
        known = np.ones((INPUT_SIZE, INPUT_SIZE), np.uint8)
        # A damaged face shows less of its identity, which gets more noise.
        noise = rng.uniform(0.0, 0.5)
        if rng.random() < self._holes:
            known[random_hole(rng)] = 0
            noise = rng.uniform(0.2, 1.0)
        return GeneratorBatch(
            picture=torch.from_numpy(np.ascontiguousarray(np.transpose(cut, (2, 0, 1)))),
            mask=torch.from_numpy(mask)[None],
            known=torch.from_numpy(known)[None],
            target=torch.from_numpy(self._targets[index]),
            noise=torch.tensor(noise, dtype=torch.float32),
        )


def read_held_out(
    folder: Path, rows: Sequence[FaceRow]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures N×112×112×3 RGB as they are, and their masks N×112×112."""
    faces, masks = [], []
    with FaceZips(folder) as zips:
        for row in rows:
            image = zips.read(row)
            margin = (image.shape[0] - INPUT_SIZE) / 2
            matrix = np.array([[1, 0, -margin], [0, 1, -margin]])
            faces.append(centre_crop(image))
            masks.append(reconstruction_mask(row, image.shape[0], matrix))
    return np.stack(faces), np.stack(masks)
