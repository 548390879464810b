"""Approximate cores on the CPU: a graph (HNSW), or lists of product-quantised codes (IVF-PQ).

Both may miss a neighbour; ``Segment`` computes the similarities of those they find again from
float32.
"""

from __future__ import annotations

import numpy as np

from ..errors import InferenceError
from .cores import Positions, Vectors
from .library import load_faiss, single_threaded

# Graph: links a vertex, candidates while building and while searching. Measured at 100,000 × 128,
# one thread: 32/80/256 finds the same first neighbour of a known face in 100 % and of a stranger
# in 90 %; 16/64/64 in 98 % and 47 % (benchmarks/results/index.json has the shipped choice).
LINKS = 32
BUILD_CANDIDATES = 80
SEARCH_CANDIDATES = 256

# Lists: 4·√N of them, of which a fifth is searched. The same first neighbour of a known face as by
# exact search, measured at 1,000,000 × 128: 79 % with 128 of 4000 lists, 90 % with 256, 98.5 % with
# 512, 99.5 % with 1024; at 100,000: 96.5 % with 128 of 1264, 99 % with 256.
_PROBED = 5
_MIN_PROBES = 128
# Training needs about 39 vectors a list (FAISS warns below that).
_TRAIN_PER_LIST = 40
_SEED = 1234


class HnswCore:
    """A navigable graph over float32 vectors N×D, which are copied. See ``Core``."""

    exact = False
    max_k = SEARCH_CANDIDATES

    def __init__(self, vectors: Vectors) -> None:
        faiss = load_faiss()
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BUILD_CANDIDATES
        self._index.hnsw.efSearch = SEARCH_CANDIDATES
        self._index.add(vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with single_threaded():
            found: tuple[Vectors, Positions] = self._index.search(queries, k)
        return found


class IvfPqCore:
    """Inverted lists of product-quantised codes of D/4 bytes. See ``Core``.

    Args:
        vectors: N×D, N at least 256; not kept.

    Raises:
        InferenceError: there are too few to train on.
    """

    exact = False
    max_k = 2048

    def __init__(self, vectors: Vectors) -> None:
        faiss = load_faiss()
        count, dim = vectors.shape
        if count < 256:
            raise InferenceError(
                f"IVF-PQ cannot be trained on {count} vectors; use the index 'flat'"
            )
        lists = max(1, min(int(4 * count**0.5), count // _TRAIN_PER_LIST))
        quantizer = faiss.IndexFlatIP(dim)
        index = faiss.IndexIVFPQ(
            quantizer, dim, lists, subvectors(dim), 8, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.niter = 10
        sample = np.random.default_rng(_SEED).choice(
            count, min(count, max(lists * _TRAIN_PER_LIST, 65536)), replace=False
        )
        index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        index.add(vectors)
        index.nprobe = min(lists, max(_MIN_PROBES, lists // _PROBED))
        self._index = index

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with single_threaded():
            found: tuple[Vectors, Positions] = self._index.search(queries, k)
        return found


def subvectors(dim: int) -> int:
    """Into how many parts of about 4 values a vector is divided for its code, one byte each."""
    return next(parts for parts in range(max(1, dim // 4), 0, -1) if dim % parts == 0)
