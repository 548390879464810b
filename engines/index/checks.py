"""Checks of arguments that all indexes share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def check_dim(dim: int) -> None:
    """Raise ValueError unless the vectors' length is at least 1."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1, not {dim}")


def check_new(
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    *,
    dim: int,
    known: Callable[[NDArray[np.int64]], NDArray[np.bool_]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids N and vectors N×dim that may be added, contiguous and in their types.

    ``known`` returns which of N ids are in the index. Raises ValueError, see ``Index.add``.
    """
    ids = check_ids(ids)
    vectors = check_vectors("vectors", vectors, dim)
    if len(ids) != len(vectors):
        raise ValueError(f"{len(ids)} ids do not go with {len(vectors)} vectors")
    if (ids < 0).any():
        negative = int(ids[np.argmax(ids < 0)])
        raise ValueError(f"id {negative} is negative; -1 means 'nobody' in search results")
    again = known(ids)
    again[np.setdiff1d(np.arange(len(ids)), np.unique(ids, return_index=True)[1])] = True
    if again.any():
        there = int(ids[np.argmax(again)])
        raise ValueError(f"id {there} is already in the index; remove it first")
    return ids, vectors


def check_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids N as contiguous int64; ValueError unless they are a list of integers."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"ids must be N integers, not {array.dtype} of shape {array.shape}")
    return np.ascontiguousarray(array, np.int64)


def check_vectors(name: str, vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Vectors N×dim, float32 and contiguous.

    Raises:
        ValueError: wrong shape or type, or a value is not finite; names the first such row.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim:
        raise ValueError(f"{name} must be N×{dim}, not {'×'.join(map(str, array.shape))}")
    if array.dtype != np.float32:
        raise ValueError(f"{name} must be float32, not {array.dtype}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(f"row {int(np.argmin(finite))} of {name} is not finite")
    return np.ascontiguousarray(array)


def check_k(k: int) -> None:
    """Raise ValueError unless the number of neighbours to find is at least 1."""
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")


def pad(
    similarities: NDArray[np.float32], ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Fill M×j results up to M×k with −inf and −1."""
    missing = k - ids.shape[1]
    if missing <= 0:
        return similarities, ids
    width = ((0, 0), (0, missing))
    return (
        np.pad(similarities, width, constant_values=-np.inf),
        np.pad(ids, width, constant_values=-1),
    )
