"""Nearest neighbours among embeddings, whoever they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from ..base import Index
from ..errors import BackendUnavailable

__all__ = [
    "IndexBackend",
    "IndexStatus",
    "faiss_distributions",
    "faiss_problem",
    "index_status",
    "open_index",
]

IndexBackend = Literal["auto", "faiss", "numpy"]
IndexName = Literal["faiss", "numpy"]

_DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Whether an index can serve here, and its version, or why not."""

    name: IndexName
    usable: bool
    detail: str


def open_index(dim: int, *, backend: IndexBackend = "auto") -> Index:
    """An empty index of vectors of length ``dim``.

    ``auto`` takes FAISS where it is installed, else numpy: as exact, slower for large galleries.

    Raises:
        BackendUnavailable: FAISS was asked for and is not there.
        ValueError: no such backend, or ``dim`` is below 1.
    """
    from .flat import FlatNumpyIndex

    if backend not in ("auto", "faiss", "numpy"):
        raise ValueError(f"no index '{backend}'; choose auto, faiss or numpy")
    if backend == "numpy":
        return FlatNumpyIndex(dim)
    from .faiss_cpu import FaissFlatIndex

    try:
        return FaissFlatIndex(dim)
    except BackendUnavailable:
        if backend == "faiss":
            raise
        return FlatNumpyIndex(dim)


def index_status() -> list[IndexStatus]:
    """All indexes, best first; FAISS proves itself with a real search."""
    from .faiss_cpu import describe

    try:
        faiss = IndexStatus("faiss", True, describe())
    except BackendUnavailable as error:
        faiss = IndexStatus("faiss", False, str(error))
    return [faiss, IndexStatus("numpy", True, f"numpy {metadata.version('numpy')}")]


def faiss_distributions() -> dict[str, str]:
    """The installed distributions that bring the module ``faiss``, with their versions."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def faiss_problem() -> str | None:
    """What to do when several distributions put the same ``faiss`` module in place; else None.

    pip does not see that clash: the files of the last one installed win, and uninstalling
    either takes files of the other away.
    """
    found = faiss_distributions()
    if len(found) < 2:
        return None
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    return (
        f"{names} are both installed and overwrite each other; "
        f"run: pip uninstall {' '.join(found)}, then install exactly one of them"
    )
