"""Exact search in plain numpy: the reference of the other indexes."""

from __future__ import annotations

import threading

import numpy as np
from facestream.engines.index.checks import (
    check_dim,
    check_ids,
    check_k,
    check_new,
    check_vectors,
    pad,
)
from numpy.typing import NDArray


class FlatNumpyIndex:
    """Every query against every vector; equal similarities by ascending id. See ``Index``."""

    kind = "numpy"
    device = "CPU"
    reason = "the oracle"

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        self._dim = dim
        self._ids = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, dim), np.float32)
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._dim

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors N×D with ids N; see ``Index.add``."""
        with self._lock:
            ids, vectors = check_new(
                ids, vectors, dim=self._dim, known=lambda new: np.isin(new, self._ids)
            )
            everything = np.concatenate([self._ids, ids])
            order = np.argsort(everything)
            self._vectors = np.concatenate([self._vectors, vectors])[order]
            self._ids = everything[order]

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove these ids; returns how many were there."""
        ids = check_ids(ids)
        with self._lock:
            keep = ~np.isin(self._ids, ids)
            self._ids, self._vectors = self._ids[keep], self._vectors[keep]
            return int(np.count_nonzero(~keep))

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest of each query; see ``Index.search``."""
        check_k(k)
        queries = check_vectors("queries", queries, self._dim)
        with self._lock:
            ids, vectors = self._ids, self._vectors
        scores = (queries @ vectors.T).astype(np.float32, copy=False)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return pad(np.take_along_axis(scores, best, axis=1), ids[best], k)
