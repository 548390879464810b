"""Nearest neighbours among embeddings; knows nothing about people."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import numpy as np

from ..devices import cuda_devices
from ..errors import BackendUnavailable
from .choice import (
    DEFAULT_OPTIONS,
    KINDS,
    IndexInfo,
    IndexKind,
    IndexOptions,
    index_over,
    open_index,
)
from .layered import LayeredIndex
from .library import load_faiss

__all__ = [
    "DEFAULT_OPTIONS",
    "KINDS",
    "IndexInfo",
    "IndexKind",
    "IndexOptions",
    "IndexStatus",
    "LayeredIndex",
    "index_over",
    "index_status",
    "open_index",
]

IndexName = Literal["faiss-gpu", "faiss", "numpy"]


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Whether an index can serve here, and its version, or why not."""

    name: IndexName
    usable: bool
    detail: str


def index_status() -> list[IndexStatus]:
    """All indexes, best first, each tried with a real search.

    The GPU's is listed only where the driver lists a CUDA device.
    """
    found = []
    if cuda_devices():
        from .gpu import probe_gpu

        try:
            found.append(IndexStatus("faiss-gpu", True, probe_gpu()))
        except BackendUnavailable as error:
            found.append(IndexStatus("faiss-gpu", False, str(error)))
    try:
        found.append(IndexStatus("faiss", True, _probe_cpu()))
    except BackendUnavailable as error:
        found.append(IndexStatus("faiss", False, str(error)))
    return [*found, IndexStatus("numpy", True, f"numpy {metadata.version('numpy')}")]


def _probe_cpu() -> str:
    """Version and threads, after a real search; BackendUnavailable if it fails or is wrong."""
    faiss = load_faiss()
    index = open_index(2, kind="flat")
    index.add(np.array([7]), np.array([[0.0, 1.0]], np.float32))
    _, ids = index.search(np.array([[0.0, 1.0]], np.float32), 1)
    if ids[0, 0] != 7:
        raise BackendUnavailable(f"faiss {faiss.__version__} gives wrong results; reinstall it")
    return f"faiss {faiss.__version__}, {faiss.omp_get_max_threads()} threads"
