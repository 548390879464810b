"""Ids and vectors in memory that grow at the end, without moving what readers look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIRST = 256


class Growing:
    """Appending n rows costs O(n) on average; arrays handed out earlier never change.

    For one writer at a time.
    """

    def __init__(self, dim: int) -> None:
        self._ids = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, dim), np.float32)
        self._count = 0

    def append(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Append rows; returns all ids N and vectors N×D so far, as views."""
        start, self._count = self._count, self._count + len(ids)
        if self._count > len(self._ids):
            room = max(_FIRST, 2 * self._count)
            kept, rows = self._ids[:start], self._vectors[:start]
            self._ids = np.zeros(room, np.int64)
            self._vectors = np.zeros((room, self._vectors.shape[1]), np.float32)
            self._ids[:start], self._vectors[:start] = kept, rows
        # Beyond what was handed out before.
        self._ids[start : self._count] = ids
        self._vectors[start : self._count] = vectors
        return self._ids[: self._count], self._vectors[: self._count]
