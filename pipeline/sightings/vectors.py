"""The embeddings of sightings in memory, in blocks: what is added costs what is new."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats

# 33 MB of 128 float32 each.
BLOCK = 65_536


class VectorBlocks:
    """N vectors of one length; full blocks are never copied again.

    float32, though they are stored as float16: comparing float16 takes ten times as long, because
    each number is converted first (``python -m benchmarks sightings``).
    """

    def __init__(self) -> None:
        self._blocks: list[Floats] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: Floats) -> None:
        """Add M×D vectors."""
        done = 0
        while done < len(vectors):
            start = self._count % BLOCK
            if start == 0:
                # Memory is taken as it is written.
                self._blocks.append(np.empty((BLOCK, vectors.shape[1]), np.float32))
            part = vectors[done : done + BLOCK - start]
            self._blocks[-1][start : start + len(part)] = part
            self._count += len(part)
            done += len(part)

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drop all but these rows, which rise; their memory is given back."""
        old, self._blocks, self._count = self._blocks, [], 0
        for number, block in enumerate(old):
            start = number * BLOCK
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + BLOCK)]
            self.append(block[here - start])

    def dot(self, vector: Floats) -> Floats:
        """The products of all with one vector, N."""
        products = np.empty(self._count, np.float32)
        for number, block in enumerate(self._blocks):
            some = products[number * BLOCK : (number + 1) * BLOCK]
            np.dot(block[: len(some)], vector, out=some)
        return products

    def take(self, rows: NDArray[np.int64]) -> Floats:
        """The vectors of these rows, M×D."""
        found = np.empty((len(rows), self._blocks[0].shape[1]), np.float32)
        numbers = rows // BLOCK
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            found[here] = self._blocks[number][rows[here] % BLOCK]
        return found


class Columns:
    """Columns of numbers to which rows are added; their memory doubles where it is full.

    Args:
        types: by name.
    """

    def __init__(self, **types: type[np.generic]) -> None:
        self._data = np.empty(0, list(types.items()))
        self._count = 0

    def append(self, **columns: NDArray[np.generic]) -> None:
        """Add M rows: all columns, M each."""
        (more,) = {len(column) for column in columns.values()}
        end = self._count + more
        if end > len(self._data):
            grown = np.empty(max(end, 2 * len(self._data)), self._data.dtype)
            grown[: self._count] = self._data[: self._count]
            self._data = grown
        for name, column in columns.items():
            self._data[name][self._count : end] = column
        self._count = end

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drop all but these rows."""
        self._data = self._data[: self._count][rows]
        self._count = len(rows)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._data[name][: self._count]
