"""Approximate cores on the CPU: a graph (HNSW), or lists of product-quantised codes (IVF-PQ).

Both may miss a neighbour; the similarities of those they find are computed again from float32 by
``Part``. What they keep beside the float32 vectors is a *structure*, which is worth a file because
building it takes minutes; see ``structures``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InferenceError
from .cores import Positions, Vectors
from .library import load_faiss, searching

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
_LEAST_PROBES = 128
# Training needs about 39 vectors a list (FAISS warns below that).
_TRAIN_PER_LIST = 40
_SEED = 1234


class HnswCore:
    """A navigable graph over float32 vectors. See ``Core``.

    Attributes:
        structure: FAISS's index; its graph is what is worth keeping.

    Args:
        vectors: N×D, copied.
        structure: a graph over these vectors, without them; None builds it.
    """

    exact = False
    deepest = SEARCH_CANDIDATES

    def __init__(self, vectors: Vectors, structure: Any = None) -> None:
        faiss = load_faiss()
        dim = vectors.shape[1]
        if structure is None:
            structure = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
            structure.hnsw.efConstruction = BUILD_CANDIDATES
            structure.add(vectors)
        else:
            self._storage = faiss.IndexFlatIP(dim)
            self._storage.add(vectors)
            structure.storage, structure.own_fields = self._storage, False
        structure.hnsw.efSearch = SEARCH_CANDIDATES
        self.structure = structure

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with searching():
            found: tuple[Vectors, Positions] = self.structure.search(queries, k)
        return found


class IvfPqCore:
    """Inverted lists of product-quantised codes. See ``Core``.

    Attributes:
        structure: FAISS's index: lists of positions and codes.

    Args:
        vectors: N×D, N at least 10000; not kept.
        structure: lists of these vectors; None trains and fills them.
    """

    exact = False
    deepest = 2048

    def __init__(self, vectors: Vectors, structure: Any = None) -> None:
        self.structure = _trained(vectors) if structure is None else structure
        self.structure.nprobe = probes(self.structure.nlist)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with searching():
            found: tuple[Vectors, Positions] = self.structure.search(queries, k)
        return found


def _trained(vectors: Vectors) -> Any:
    """Lists trained on a sample of the vectors, and filled with all."""
    faiss = load_faiss()
    count, dim = vectors.shape
    lists = max(1, min(int(4 * count**0.5), count // _TRAIN_PER_LIST))
    if count < 256:
        raise InferenceError(f"IVF-PQ cannot be trained on {count} vectors; use the index 'flat'")
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(quantizer, dim, lists, subvectors(dim), 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    sample = np.random.default_rng(_SEED).choice(
        count, min(count, max(lists * _TRAIN_PER_LIST, 65536)), replace=False
    )
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    index.add(vectors)
    return index


def probes(lists: int) -> int:
    """How many of so many lists are searched."""
    return min(lists, max(_LEAST_PROBES, lists // _PROBED))


def subvectors(dim: int) -> int:
    """Into how many parts of about 4 values a vector is divided for its code, one byte each."""
    return next(parts for parts in range(max(1, dim // 4), 0, -1) if dim % parts == 0)
