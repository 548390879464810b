"""Cores search the bulk of an index. A core is built once over all vectors and immutable.

A core finds positions, not ids. ``LayeredIndex`` adds additions, removals and exact similarities,
the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .library import load_faiss, single_threaded

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]


class Core(Protocol):
    """Nearest neighbours by inner product; ``search`` may be called from several threads."""

    @property
    def exact(self) -> bool:
        """True when the similarities and the order are those of float32 arithmetic over all."""
        ...

    @property
    def max_k(self) -> int | None:
        """The largest k it can search for; None for any."""
        ...

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """Similarities and positions M×k, best first, −1 for none; InferenceError if it failed."""
        ...


Build = Callable[[Vectors], Core]

# Products (queries × vectors × D) that are worth a thread: about 50 ms of work.
_THREAD_WORTH = 2_000_000_000


class KnnCore:
    """FAISS over the vectors in place: exact, nothing is built.

    A large search is divided by ranges of the vectors among as many threads as FAISS may use.
    """

    exact = True
    max_k = None

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        count = len(self._vectors)
        threads = min(
            load_faiss().omp_get_max_threads(),
            queries.size * count // _THREAD_WORTH,
            count // max(k, 1),
        )
        if threads < 2:
            return self._range(queries, k, 0, count)
        edges = np.linspace(0, count, threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads, "facestream-knn") as pool:
            found = list(pool.map(lambda edge: self._range(queries, k, *edge), pairwise(edges)))
        similarities, at = (np.concatenate(both, axis=1) for both in zip(*found, strict=True))
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarities, best, axis=1), np.take_along_axis(at, best, axis=1)

    def _range(self, queries: Vectors, k: int, start: int, end: int) -> tuple[Vectors, Positions]:
        """The nearest among some of the vectors, on this thread."""
        with single_threaded() as faiss:
            similarities, at = faiss.knn(
                queries, self._vectors[start:end], k, faiss.METRIC_INNER_PRODUCT
            )
        return similarities, at + start


class NumpyCore:
    """Plain numpy, where FAISS is not installed: as exact, slower."""

    exact = True
    max_k = None

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        scores = queries @ self._vectors.T
        near = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        similarities = np.take_along_axis(scores, near, axis=1)
        order = np.argsort(-similarities, axis=1, kind="stable")
        return (
            np.take_along_axis(similarities, order, axis=1).astype(np.float32, copy=False),
            np.take_along_axis(near, order, axis=1).astype(np.int64, copy=False),
        )


def flat_build() -> Build:
    """The exact core for vectors in memory: FAISS where it is installed, else numpy."""
    from ..errors import BackendUnavailable

    try:
        load_faiss()
    except BackendUnavailable:
        return NumpyCore
    return KnnCore
