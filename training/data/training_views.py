"""The training set: random views of pictures with the teacher's targets, drawn by seed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, TypedDict, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..models.backbones import INPUT_SIZE
from .degrade import random_view
from .face_sets import STREAKED_SETS, FaceRow, FaceZips

Floats = NDArray[np.float32]
T = TypeVar("T")
# Of a 128×128 picture of a tightly cropped set: the part that is never streaks (top, bottom,
# left, right). Above the forehead and beside the cheeks the border pixel may be repeated.
FACE_ONLY: Final = (40, 128, 24, 104)


class Batch(TypedDict):
    """One batch.

    faces: N×3×112×112 uint8, degraded. clean: the same, not degraded. mask: N×1×112×112 uint8, 1
    where reconstruction counts. target: N×D, the teacher's embedding of the clean picture. centre:
    N×D, the mean of the person's other pictures. has_centre: N, 1 where there is one. level: N,
    the strongest degradation, 0..1. label: N int64, the person's class, −1 for none.
    """

    faces: Tensor
    clean: Tensor
    mask: Tensor
    target: Tensor
    centre: Tensor
    has_centre: Tensor
    level: Tensor
    label: Tensor


def identity_centres(rows: Sequence[FaceRow], targets: Floats) -> tuple[Floats, Floats]:
    """For each picture the mean direction of the same person's other pictures.

    Args:
        rows: N rows.
        targets: N×D, the teacher's embeddings.

    Returns:
        N×D means of L2-normalised embeddings (not normalised again) and N flags: 1 where the
        person has at least five other pictures, else 0 (and the mean is 0).
    """
    unit = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    members: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.identity is not None:
            members.setdefault(row.identity, []).append(i)
    centres = np.zeros_like(targets)
    flags = np.zeros(len(rows), np.float32)
    for indices in members.values():
        if len(indices) > 5:
            total = unit[indices].sum(axis=0)
            centres[indices] = (total - unit[indices]) / (len(indices) - 1)
            flags[indices] = 1.0
    return centres, flags


def reconstruction_mask(row: FaceRow, size: int, matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """112×112, 1 where the picture is a picture and no repeated border."""
    if row.dataset not in STREAKED_SETS:
        return np.ones((INPUT_SIZE, INPUT_SIZE), np.uint8)
    top, bottom, left, right = (side * size // 128 for side in FACE_ONLY)
    mask = np.zeros((size, size), np.uint8)
    mask[top:bottom, left:right] = 1
    return np.asarray(
        cv2.warpAffine(mask, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_NEAREST), np.uint8
    )


def _chw(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class Views(Dataset[Batch]):
    """Random views; item ``(epoch, index)`` is the same each time for the same seed."""

    def __init__(
        self,
        folder: Path,
        rows: Sequence[FaceRow],
        targets: Floats,
        *,
        labels: NDArray[np.int64],
        seed: int,
    ) -> None:
        """
        Args:
            rows: N rows.
            targets: N×D, the teacher's embeddings.
            labels: N classes, −1 for none.
        """
        self._zips = FaceZips(folder)
        self._rows = list(rows)
        self._targets = targets
        self._centres, self._flags = identity_centres(rows, targets)
        self._labels = labels
        self._seed = seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        rng = np.random.default_rng((self._seed, epoch, index))
        row = self._rows[index]
        image = self._zips.read(row)
        view = random_view(image, rng)
        mask = reconstruction_mask(row, image.shape[0], view.matrix)
        return Batch(
            faces=_chw(view.degraded),
            clean=_chw(view.clean),
            mask=torch.from_numpy(mask)[None],
            target=torch.from_numpy(self._targets[index]),
            centre=torch.from_numpy(self._centres[index]),
            has_centre=torch.tensor(self._flags[index]),
            level=torch.tensor(view.level, dtype=torch.float32),
            label=torch.tensor(self._labels[index]),
        )


class SeededBatches(Sampler[list[tuple[int, int]]]):
    """(epoch, index) of each batch from a step on: a resumed run sees what it would have seen.

    Each epoch is a permutation drawn from seed and epoch; several processes take turns within a
    batch. Ends after ``steps`` batches have been seen in all, the resumed ones included.
    """

    def __init__(
        self, size: int, batch: int, *, seed: int, first: int, steps: int, shard: tuple[int, int]
    ) -> None:
        self._size, self._batch, self._seed = size, min(batch, size), seed
        self._first, self._steps, self._shard = first, steps, shard

    def __len__(self) -> int:
        return max(0, self._steps - self._first)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = max(1, self._size // self._batch)
        rank, world = self._shard
        order: NDArray[np.int64] = np.empty(0, np.int64)
        current = -1
        for step in range(self._first, self._steps):
            epoch, position = divmod(step, per_epoch)
            if epoch != current:
                order = np.random.default_rng((self._seed, epoch)).permutation(self._size)
                current = epoch
            chosen = order[position * self._batch : (position + 1) * self._batch]
            yield [(epoch, int(i)) for i in chosen[rank::world]]


class Drawing(Protocol):
    """Settings of a run, as far as its batches are concerned."""

    @property
    def batch(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def workers(self) -> int: ...


def draw_batches(
    views: Dataset[T], size: int, settings: Drawing, *, first: int, shard: tuple[int, int] = (0, 1)
) -> Iterator[T]:
    """The batches of a run from step ``first`` on.

    Args:
        views: gives ``(epoch, index)``.
        size: of ``views``.
        settings: batch, steps in all, seed, and worker processes that read ahead.
        first: where a resumed run goes on.
        shard: this process's number and how many there are.
    """
    sampler = SeededBatches(
        size, settings.batch, seed=settings.seed, first=first, steps=settings.steps, shard=shard
    )
    return iter(
        DataLoader(
            views,
            batch_sampler=sampler,
            num_workers=settings.workers,
            worker_init_fn=leave_interrupts_to_the_main_process,
        )
    )


def leave_interrupts_to_the_main_process(worker: int) -> None:
    """For a DataLoader's ``worker_init_fn``.

    Ctrl-C reaches every process of a terminal. The main process reports it; the
    tracebacks of its workers would only hide the report.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)
