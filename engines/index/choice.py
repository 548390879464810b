"""Which kind of index serves, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..devices import CudaDevice, cuda_devices
from ..errors import BackendUnavailable, InferenceError
from ..options import Device
from .cores import (
    Build,
    Core,
    KnnCore,
    NumpyCore,
    Vectors,
)
from .layered import LayeredIndex, Upkeep
from .library import load_faiss
from .parts import Ids

IndexKind = Literal["auto", "flat", "hnsw", "ivfpq", "gpu", "numpy"]
CpuKind = Literal["flat", "hnsw", "ivfpq"]
KINDS: tuple[IndexKind, ...] = ("auto", "flat", "hnsw", "ivfpq", "gpu", "numpy")

# Floats (vectors × D) up to which everything is compared: 4,000,000 × 128.
FLAT_FLOATS = 4_000_000 * 128
# Fewer vectors cannot train the codes (8 bits need 39 × 256), and are searched in 0.2 ms anyway.
LEAST_IVFPQ = 10_000
LEAST_HNSW = 1_000
# Share of a GPU's memory that exact search may take; the networks need the rest.
_GPU_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind and why it was chosen, in words."""

    kind: IndexKind
    reason: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to search; see ``open_index``.

    Attributes:
        kind: of index.
        strictness: ``strict``: with ``auto``, an error rather than leaving a GPU unused.
        device: ``cpu`` keeps ``auto`` off the GPU.
    """

    kind: IndexKind = "auto"
    strictness: Literal["fallback", "strict"] = "fallback"
    device: Device = "auto"


ANY = Wish()


class Kept(Protocol):
    """Where the structures of approximate kinds are kept."""

    def adopt(
        self, index: LayeredIndex, ids: Ids, vectors: Vectors, dead: NDArray[np.bool_] | None
    ) -> None:
        """Give the vectors to an empty index of kind ``hnsw`` or ``ivfpq``."""
        ...


def choose_kind(count: int, dim: int) -> Choice:
    """How ``count`` vectors are best searched on a CPU.

    Approximation costs certainty where the decision is open-set: it misses neighbours of
    strangers and runners-up. And it pays less than one expects: faces come in batches, and a batch
    is compared with everything by one matrix product. So it is chosen only where exact search
    takes a tenth of a second on one thread (a gigaflop and 2 GB a query).

    Measured on one thread of a busy machine (benchmarks/results/index.json, 128 values; 11,271
    faces are real, the others drawn like them with four photos a person; recall@1 of people in the
    gallery and of strangers):

    ==========  ============  =========  ==========  ========  ===========
    photos      kind          one query  32 queries  to build  recall@1
    ==========  ============  =========  ==========  ========  ===========
    11,271      flat          0.1 ms     7 ms        0         100 / 100 %
    ..          IVF-PQ        0.2 ms     5 ms        2 s       100 / 100 %
    ..          HNSW          0.4 ms     29 ms       3 s       100 / 100 %
    100,000     flat          2 ms       38 ms       0         100 / 100 %
    ..          IVF-PQ        0.9 ms     196 ms      94 s      99 / 90 %
    ..          HNSW          1.3 ms     75 ms       55 s      100 / 97 %
    300,000     flat          29 ms      357 ms      0         100 / 100 %
    ..          HNSW          2 ms       111 ms      516 s     99.5 / 85 %
    1,000,000   flat          38 ms      404 ms      0         100 / 100 %
    ..          flat float16  20 ms      763 ms      0.4 s     100 / 100 %
    ..          flat 8 bits   88 ms      3651 ms     2 s       100 / 100 %
    ..          IVF-PQ        18 ms      511 ms      312 s     99.5 / 92 %
    ==========  ============  =========  ==========  ========  ===========

    IVF-PQ that finds known faces as surely as that compares a fifth of everything, so it grows as
    exact search does and is not chosen by itself; a graph's searches hardly grow, but its building
    takes hours for some millions on one thread, and it misses more as it grows (1,000,000 were not
    measured). So it is for galleries that are beyond exact search. Fewer bits halve the time of a
    single query at best, and cost twice that of a batch.
    """
    if count * dim <= FLAT_FLOATS:
        return Choice("flat", f"{count:,} vectors are searched exactly")
    return Choice("hnsw", f"exact search of {count:,} vectors takes too long; approximated")


def open_index(
    dim: int,
    *,
    kind: IndexKind = "auto",
    expected: int = 0,
    device: Device = "auto",
    strict: bool = False,
) -> LayeredIndex:
    """An empty index of vectors of length ``dim``.

    ``auto`` takes the GPU where FAISS searches on it, else what ``choose_kind`` says for the CPU,
    and plain numpy where FAISS is not installed. Any other kind serves or is an error. What
    serves and why is told by the index (``kind``, ``device``, ``reason``).

    Args:
        dim: length of the vectors.
        kind: ``flat`` compares everything on the CPU; ``hnsw`` and ``ivfpq`` approximate;
            ``gpu`` compares everything on a CUDA device (approximates what does not fit there);
            ``numpy`` is the plain fallback.
        expected: about how many vectors it is going to hold.
        device: ``cpu`` keeps ``auto`` off the GPU.
        strict: with ``auto``, an error rather than leaving a CUDA device unused.

    Raises:
        BackendUnavailable: what was asked for cannot serve here; says why.
        ValueError: no such kind, or ``dim`` is below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"no index '{kind}'; choose {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if kind == "numpy":
        return _numpy(dim, "asked for")
    if kind == "gpu":
        return _gpu(dim, expected, "asked for")
    if kind == "auto":
        if device == "cpu":
            return _auto(dim, expected, "never")
        return _auto(dim, expected, "strict" if strict else "fallback")
    return _cpu(dim, kind, expected, "asked for")


def index_over(
    ids: Ids,
    vectors: Vectors,
    *,
    dead: NDArray[np.bool_] | None = None,
    wish: Wish = ANY,
    kept: Kept | None = None,
) -> LayeredIndex:
    """An index over vectors that are there already; they are not copied.

    Args:
        ids: N, none twice and none negative.
        vectors: N×D, of length 1; may be memory-mapped.
        dead: N; True for those that count as removed.
        wish: what is to search them.
        kept: where the structure of an approximate kind is kept.

    Raises:
        BackendUnavailable: what was asked for cannot serve here; says why.
        InferenceError: it cannot take so many; ``auto`` falls back to the CPU, unless it is strict.
    """
    count, dim = vectors.shape
    index = open_index(
        dim, kind=wish.kind, expected=count, device=wish.device, strict=wish.strictness == "strict"
    )
    if kept is not None and index.kind in ("hnsw", "ivfpq"):
        kept.adopt(index, ids, vectors, dead)
        return index
    try:
        index.adopt(ids, vectors, dead=dead)
    except InferenceError as error:
        if index.kind != "gpu" or wish.kind != "auto" or wish.strictness == "strict":
            raise
        choice = choose_kind(count, dim)
        index = _cpu(dim, choice.kind, count, f"{choice.reason}; not on the GPU: {error}")
        index.adopt(ids, vectors, dead=dead)
    return index


def _auto(dim: int, expected: int, gpu: Literal["strict", "fallback", "never"]) -> LayeredIndex:
    """The GPU, else the CPU with FAISS, else numpy."""
    refused = ""
    if gpu != "never" and cuda_devices():
        try:
            return _gpu(dim, expected, "exact, on the GPU")
        except BackendUnavailable as error:
            if gpu == "strict":
                raise
            refused = f"; not on the GPU: {error}"
    choice = choose_kind(expected, dim)
    try:
        return _cpu(dim, choice.kind, expected, choice.reason + refused)
    except BackendUnavailable as error:
        return _numpy(dim, f"{error}{refused}")


def _cpu(dim: int, kind: IndexKind, expected: int, reason: str) -> LayeredIndex:
    load_faiss()
    if kind == "flat":
        return LayeredIndex(dim, build=KnnCore, kind="flat", reason=reason)
    least = LEAST_IVFPQ if kind == "ivfpq" else LEAST_HNSW
    if expected < least:
        few = f"{kind} begins at {least:,} vectors, and {expected:,} are searched exactly"
        return LayeredIndex(dim, build=KnnCore, kind="flat", reason=few)
    return LayeredIndex(
        dim,
        build=_builder(kind),
        # Building takes minutes: what comes later is searched exactly until the next opening.
        upkeep=Upkeep(tail_share=None, dead_share=None),
        kind=kind,
        reason=reason,
    )


def _numpy(dim: int, reason: str) -> LayeredIndex:
    return LayeredIndex(dim, build=NumpyCore, kind="numpy", reason=reason)


def _gpu(dim: int, expected: int, reason: str) -> LayeredIndex:
    """An index whose bulk is on the first CUDA device.

    Raises:
        BackendUnavailable: FAISS cannot search there.
    """
    from .gpu import GpuFlatCore, GpuIvfPqCore, prove_gpu

    proof = prove_gpu()
    build: Callable[[Vectors], Core] = GpuFlatCore
    device = next(iter(cuda_devices()), None)
    if device is not None and not _fits(device, expected, dim):
        build = GpuIvfPqCore
        reason = f"{expected:,} vectors do not fit on {device.name}: approximated there"
    return LayeredIndex(
        dim,
        build=build,
        upkeep=Upkeep(tail_share=0.125),
        kind="gpu",
        device="cuda:0",
        reason=f"{reason} ({proof})",
    )


def _fits(device: CudaDevice, count: int, dim: int) -> bool:
    """True when that many vectors in float16 leave the networks their memory."""
    return 2 * count * dim <= _GPU_SHARE * device.memory


def _builder(kind: IndexKind) -> Build:
    from .approximate import HnswCore, IvfPqCore

    return HnswCore if kind == "hnsw" else IvfPqCore
