"""Approximate cores on the CPU: a graph (HNSW), or lists of product-quantised codes (IVF-PQ).

Both may miss a neighbour; the similarities of those they find are computed again from float32 by
``Part``. What they keep beside the float32 vectors is a *structure* that can be written to a file
and read again, because building it takes minutes:

- HNSW: the graph alone, without vectors.
- IVF-PQ: lists of positions with codes of D/4 bytes. The codes tell much of the vectors, so they
  are erased with them (``IvfPqCore.save`` without the removed).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import IndexFileError, InferenceError
from .cores import Positions, Vectors
from .library import load_faiss, searching

# Graph: links a vertex, candidates while building and while searching. Measured at 100,000 × 128,
# one thread: 32/80/256 finds the same first neighbour of a known face in 100 % and of a stranger
# in 90 %; 16/64/64 in 98 % and 47 % (benchmarks/results/index.json has the shipped choice).
LINKS = 32
BUILD_CANDIDATES = 80
SEARCH_CANDIDATES = 256

# Lists: 4·√N of them, of which so many are searched. At 1,000,000 × 128: 128 of 4000 find the
# same first neighbour of a known face in 100 %, 32 in 91 %.
PROBES = 128
# Training needs about 39 vectors a list (FAISS warns below that).
_TRAIN_PER_LIST = 40
_SEED = 1234


class HnswCore:
    """A navigable graph over float32 vectors. See ``Core``.

    Args:
        vectors: N×D, copied.
        graph: made by ``save`` over the same vectors; None builds it.
    """

    exact = False
    deepest = SEARCH_CANDIDATES

    def __init__(self, vectors: Vectors, graph: Path | None = None) -> None:
        faiss = load_faiss()
        dim = vectors.shape[1]
        if graph is None:
            self._index: Any = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = BUILD_CANDIDATES
            self._index.add(vectors)
        else:
            self._index = _read(graph, len(vectors), dim)
            # The graph's file has no vectors; they are where the gallery keeps them.
            self._storage = faiss.IndexFlatIP(dim)
            self._storage.add(vectors)
            self._index.storage, self._index.own_fields = self._storage, False
        self._index.hnsw.efSearch = SEARCH_CANDIDATES

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with searching():
            found: tuple[Vectors, Positions] = self._index.search(queries, k)
        return found

    def save(self, path: Path) -> None:
        """Write the graph, without vectors.

        Raises:
            OSError: it cannot be written.
        """
        _write(self._index, path, load_faiss().IO_FLAG_SKIP_STORAGE)


class IvfPqCore:
    """Inverted lists of product-quantised codes. See ``Core``.

    Args:
        vectors: N×D, N at least 1; not kept.
        lists: made by ``save`` over the same vectors; None trains and fills them.
    """

    exact = False
    deepest = 2048

    def __init__(self, vectors: Vectors, lists: Path | None = None) -> None:
        self._index: Any = (
            _trained(vectors) if lists is None else _read(lists, len(vectors), vectors.shape[1])
        )
        self._index.nprobe = PROBES

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with searching():
            found: tuple[Vectors, Positions] = self._index.search(queries, k)
        return found

    def save(self, path: Path) -> None:
        """Write lists and codes.

        Raises:
            OSError: it cannot be written.
        """
        _write(self._index, path, 0)


def _trained(vectors: Vectors) -> Any:
    """Lists trained on a sample of the vectors, and filled with all."""
    faiss = load_faiss()
    count, dim = vectors.shape
    lists = max(1, min(int(4 * count**0.5), count // _TRAIN_PER_LIST))
    if count < 2 * 256:  # too few to train codes of 8 bits
        raise InferenceError(f"IVF-PQ needs at least 512 vectors to train on, not {count}")
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(quantizer, dim, lists, subvectors(dim), 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 10
    sample = np.random.default_rng(_SEED).choice(
        count, min(count, max(lists * _TRAIN_PER_LIST, 65536)), replace=False
    )
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    index.add(vectors)
    return index


def subvectors(dim: int) -> int:
    """Into how many parts of about 4 values a vector is divided for its code, one byte each."""
    return next(parts for parts in range(max(1, dim // 4), 0, -1) if dim % parts == 0)


def _read(path: Path, count: int, dim: int) -> Any:
    """A structure from a file.

    Raises:
        IndexFileError: it cannot be read or is not of so many vectors.
    """
    faiss = load_faiss()
    try:
        index: Any = faiss.read_index(str(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise IndexFileError(f"'{path.name}' cannot be read as an index ({reason})") from error
    if index.ntotal != count or index.d != dim:
        raise IndexFileError(
            f"'{path.name}' is an index of {index.ntotal}×{index.d}, not of {count}×{dim}"
        )
    return index


def _write(index: Any, path: Path, flags: int) -> None:
    """Write atomically, readable by the owner alone."""
    faiss = load_faiss()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
        faiss.write_index(index, str(part), flags)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except RuntimeError as error:
        raise OSError(f"'{path}' cannot be written: {str(error).splitlines()[0][:200]}") from error
    finally:
        part.unlink(missing_ok=True)
