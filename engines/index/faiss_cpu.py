"""Exact search with FAISS on the CPU."""

from __future__ import annotations

import importlib
import threading
import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendUnavailable, InferenceError
from .checks import check_dim, check_ids, check_k, check_new, check_vectors, pad

# FAISS compares one query after another below this many floats of queries (M×D) and multiplies
# matrices above. 1.15 set it to 128000, right for tens of cores; on one thread the two cost the
# same at about 800 (facebookresearch/faiss pull request 5109).
_TOO_HIGH = 128_000
_CROSSOVER = 800

# Below this many products (queries × vectors × D) a search runs on one thread: OpenMP's threads
# wait for each other, and where the networks keep the cores busy that wait is far longer than the
# work. Measured on 2 busy cores with 100,000 vectors of 128: 1 query takes 2 ms rather than 50 ms
# (median), 32 queries 38 ms rather than 76 ms, 128 queries 67 ms rather than 94 ms (best of 7).
_ONE_THREAD = 2_000_000_000


@cache
def _faiss() -> Any:
    """The module, its threshold set.

    Raises:
        BackendUnavailable: it is not installed or does not load here.
    """
    with warnings.catch_warnings():
        # SWIG's own types lack __module__ from Python 3.12 on; nothing a user could mend.
        warnings.filterwarnings(
            "ignore",
            message="builtin type [sS]wig.* has no __module__",
            category=DeprecationWarning,
        )
        try:
            faiss: Any = importlib.import_module("faiss")
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"faiss does not load ({error}); install it with: pip install faiss-cpu"
            ) from error
    if not hasattr(faiss, "IndexIDMap2"):
        raise BackendUnavailable(
            "the faiss module is damaged (faiss-cpu and faiss-gpu over one another?); "
            "uninstall both, then: pip install faiss-cpu"
        )
    # Other versions count otherwise and have a fitting value of their own.
    if faiss.cvar.distance_compute_blas_threshold == _TOO_HIGH:
        faiss.cvar.distance_compute_blas_threshold = _CROSSOVER
    return faiss


def describe() -> str:
    """Version and threads, after a real search.

    Raises:
        BackendUnavailable: FAISS does not load or does not find what it was given.
    """
    faiss = _faiss()
    index = FaissFlatIndex(2)
    index.add(np.array([7]), np.array([[0.0, 1.0]], np.float32))
    _, ids = index.search(np.array([[0.0, 1.0]], np.float32), 1)
    if ids[0, 0] != 7:
        raise BackendUnavailable(f"faiss {faiss.__version__} gives wrong results; reinstall it")
    return f"faiss {faiss.__version__}, {faiss.omp_get_max_threads()} threads"


class FaissFlatIndex:
    """``IndexIDMap2`` over ``IndexFlatIP``: exact, with removal. See ``Index``.

    Safe from several threads: calls take turns.

    Raises:
        BackendUnavailable: FAISS is not installed.
    """

    def __init__(self, dim: int) -> None:
        check_dim(dim)
        faiss = _faiss()
        self._dim = dim
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        self._known: set[int] = set()
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._dim

    def __len__(self) -> int:
        return len(self._known)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors N×D with ids N; see ``Index.add``."""
        with self._lock:
            ids, vectors = check_new(ids, vectors, dim=self._dim, known=self._known)
            if len(ids) == 0:
                return
            self._index.add_with_ids(vectors, ids)
            self._known.update(ids.tolist())

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove these ids; returns how many were there."""
        ids = check_ids(ids)
        with self._lock:
            there = np.array(sorted(self._known.intersection(ids.tolist())), np.int64)
            if len(there):
                self._index.remove_ids(there)
                self._known.difference_update(there.tolist())
            return len(there)

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest of each query; see ``Index.search``.

        Raises:
            InferenceError: FAISS failed.
        """
        check_k(k)
        queries = check_vectors("queries", queries, self._dim)
        with self._lock:
            found = min(k, len(self._known))
            if found == 0 or len(queries) == 0:
                similarities = np.zeros((len(queries), 0), np.float32)
                ids = np.zeros((len(queries), 0), np.int64)
            else:
                similarities, ids = self._search(queries, found)
        return pad(similarities, ids, k)

    def _search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """FAISS's own search; the caller holds the lock."""
        faiss = _faiss()
        threads = faiss.omp_get_max_threads()
        if queries.size * len(self._known) < _ONE_THREAD:
            faiss.omp_set_num_threads(1)  # OpenMP keeps this number for each calling thread
        try:
            similarities, ids = self._index.search(queries, k)
        except RuntimeError as error:
            raise InferenceError(f"the faiss search failed: {error}") from error
        finally:
            faiss.omp_set_num_threads(threads)
        return similarities, ids
