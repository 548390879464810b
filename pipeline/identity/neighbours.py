"""The most similar of very many faces, for clusters: exact up to a size, then by inverted lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from facestream.engines.index.library import single_threaded
from numpy.typing import NDArray

from ..core.types import Floats

# Up to so many faces all are compared.
EXACT = 100_000
# Lists, and how many of them are searched for a face: 1.6 % of all faces.
LISTS, PROBES = 1024, 16
# Faces that the lists are learnt from, 40 each.
_LEARNT = 40 * LISTS


class Neighbours:
    """Faces that are searched, and of which there are more and more.

    Args:
        dim: D of the embeddings.
    """

    def __init__(self, dim: int) -> None:
        self._vectors = np.empty((1024, dim), np.float32)
        self._count = 0
        self._lists: Any = None

    @property
    def unit(self) -> Floats:
        """The faces, N×D."""
        return self._vectors[: self._count]

    def add(self, unit: Floats) -> None:
        """Add faces, M×D of length 1."""
        end = self._count + len(unit)
        if end > len(self._vectors):
            room = np.empty((max(end, 2 * len(self._vectors)), unit.shape[1]), np.float32)
            room[: self._count] = self.unit
            self._vectors = room
        self._vectors[self._count : end] = unit
        self._count = end
        if self._lists is not None:
            with single_threaded():
                self._lists.add(unit)
        elif end > EXACT:
            self._learn()

    def search(self, unit: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """Cosines and rows (M×k) of the most similar faces; row −1 where there are fewer."""
        k = min(k, max(self._count, 1))
        if not self._count or not len(unit):
            shape = (len(unit), k)
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        with single_threaded() as faiss:
            if self._lists is None:
                found = faiss.knn(unit, self.unit, k, metric=faiss.METRIC_INNER_PRODUCT)
            else:
                found = self._lists.search(unit, k)
        return np.asarray(found[0], np.float32), np.asarray(found[1], np.int64)

    def _learn(self) -> None:
        with single_threaded() as faiss:
            dim = self._vectors.shape[1]
            lists = faiss.IndexIVFFlat(
                faiss.IndexFlatIP(dim), dim, LISTS, faiss.METRIC_INNER_PRODUCT
            )
            lists.cp.niter = 5
            lists.nprobe = PROBES
            rows = np.random.default_rng(0).permutation(self._count)[:_LEARNT]
            lists.train(self.unit[rows])
            lists.add(self.unit)
        self._lists = lists
