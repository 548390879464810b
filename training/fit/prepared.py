"""What a run trains on and what it holds out, with the teacher's targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.face_sets import FaceRow, read_folder, split_identities
from ..data.readable import Unusable, find_unusable
from ..data.teacher import teacher_targets
from ..data.training_views import identity_centres
from ..errors import DataError
from ..losses.identity import direction
from ..progress import ReportProgress, counted
from .config import FitConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Rows and targets (mean of the teacher's embeddings of a picture and its mirror image).

    Attributes:
        train: N rows. train_targets: N×D.
        held: M rows of people that ``train`` has no picture of. held_targets: M×D.
        labels: N int64, the class of each training picture's person, −1 where there is none or
            it has one picture only.
        unusable: listed pictures that are missing, damaged or of the wrong size; in neither part.
    """

    train: list[FaceRow]
    held: list[FaceRow]
    train_targets: Floats
    held_targets: Floats
    labels: NDArray[np.int64]
    unusable: tuple[Unusable, ...] = ()

    def person_centres(self) -> Floats:
        """C×D, the mean direction of each class's pictures: where a margin loss begins.

        Raises:
            DataError: fewer than two people have several pictures.
        """
        count = int(self.labels.max(initial=-1)) + 1
        if count < 2:
            raise DataError(
                "a margin loss needs at least two people with several pictures each; there "
                f"are {count}: label more people, or set weights.margin=0"
            )
        unit = self.train_targets / np.linalg.norm(self.train_targets, axis=1, keepdims=True)
        centres = np.zeros((count, unit.shape[1]), np.float32)
        known = self.labels >= 0
        np.add.at(centres, self.labels[known], unit[known])
        length = np.linalg.norm(centres, axis=1, keepdims=True)
        return np.asarray(centres / length, np.float32)

    def target_floor(self) -> float:
        """Mean squared distance, a dimension, of a clean picture to its person's other pictures."""
        centres, flags = identity_centres(self.train, self.train_targets)
        chosen = flags > 0
        if not chosen.any():
            return 0.0
        a = direction(torch.from_numpy(self.train_targets[chosen]))
        b = direction(torch.from_numpy(centres[chosen]))
        return float((a - b).square().mean())


def prepare(config: FitConfig, progress: ReportProgress) -> TrainingData:
    """Read the lists, split them, leave out what cannot be read, get the teacher's embeddings.

    Pictures are left out here, once, so that the order of an epoch stays the same from run to run.

    Raises:
        DataError: a list or zip cannot be read, or there are too few pictures.
        TrainingError: the teacher's file is missing.
    """
    rows = read_folder(config.data, datasets=config.datasets)
    train, held = split_identities(rows, percent=config.held_out_percent, seed=config.seed)
    rng = np.random.default_rng(config.seed)
    if config.limit and config.limit < len(train):
        train = [train[i] for i in sorted(rng.choice(len(train), config.limit, replace=False))]
    # People with several pictures come first: only they make genuine pairs.
    counts = Counter(row.identity for row in held if row.identity is not None)
    held.sort(key=lambda r: counts.get(r.identity or "", 0) < 2)
    held = sorted(held[: config.validation_pictures], key=lambda r: (r.dataset, r.member))
    chosen = sorted([*train, *held], key=lambda r: (r.dataset, r.member))
    unusable = find_unusable(
        config.data, chosen, cache=config.cache, progress=counted(progress, "check", len(chosen))
    )
    bad = {item.row for item in unusable}
    train = [row for row in train if row not in bad]
    held = [row for row in held if row not in bad]
    if len(train) < 2 or len(held) < 2:
        without = f", {len(bad)} cannot be read" if bad else ""
        raise DataError(
            f"too few pictures in {config.data}: {len(train)} to train on and {len(held)} held out"
            f"{without}"
        )
    usable = [row for row in chosen if row not in bad]
    plain, mirror = teacher_targets(
        config.data,
        usable,
        teacher=config.teacher,
        cache=config.cache,
        threads=config.threads,
        progress=counted(progress, "teacher", len(usable)),
    )
    target = dict(zip(usable, (plain + mirror) / 2, strict=True))
    return TrainingData(
        train=train,
        held=held,
        train_targets=np.stack([target[r] for r in train]),
        held_targets=np.stack([target[r] for r in held]),
        labels=person_labels(train),
        unusable=tuple(unusable),
    )


def person_labels(rows: Sequence[FaceRow]) -> NDArray[np.int64]:
    """The class of each picture's person, 0..C−1 in the names' order; −1 where it has no label or
    is its person's only picture."""
    counts = Counter(row.identity for row in rows if row.identity is not None)
    classes = {name: i for i, name in enumerate(sorted(n for n, c in counts.items() if c > 1))}
    return np.array([classes.get(row.identity or "", -1) for row in rows], np.int64)
