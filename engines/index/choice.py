"""Which kind of index serves, and why.

On a CPU, ``auto`` searches exactly. Approximation makes an open-set decision less certain: it
misses neighbours of strangers and runners-up. It also gains little: faces come in batches, and one
matrix product compares a batch with all vectors.

Measured on one thread of a busy machine (``benchmarks/index.py``, 128 values; 11,271 faces are
real, the others drawn like them with four photos a person; recall@1 of people in the gallery and
of strangers):

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

IVF-PQ with this recall compares a fifth of all vectors, so its time grows like that of exact
search; a graph's time hardly grows, but its recall falls. Both are built in memory at each start,
in minutes for a million vectors, so they serve on request only. Fewer bits halve the time of a
single query at best, and double that of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..devices import cuda_devices
from ..errors import BackendUnavailable, InferenceError
from ..options import Device
from .cores import KnnCore, NumpyCore, Vectors
from .layered import CompactionPolicy, LayeredIndex
from .library import load_faiss
from .segment import Ids

IndexKind = Literal["auto", "flat", "hnsw", "ivfpq", "gpu", "numpy"]
KINDS: tuple[IndexKind, ...] = ("auto", "flat", "hnsw", "ivfpq", "gpu", "numpy")

# Fewer vectors cannot train the codes (8 bits need 39 × 256), and are searched in 0.2 ms anyway.
MIN_IVFPQ = 10_000
MIN_HNSW = 1_000
# Fewer are searched on one thread in at most 0.2 ms, about what a launch and two copies take; the
# GPU's probe takes seconds, and its buffers hundreds of megabytes.
MIN_GPU = 20_000


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The index in use.

    Attributes:
        kind: ``flat``, ``hnsw``, ``ivfpq``, ``gpu`` or ``numpy``; ``none`` while there is no index.
        device: e.g. ``CPU`` or ``cuda:0``.
        reason: why, in words.
    """

    kind: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to search; see ``open_index``.

    Attributes:
        kind: of index.
        strictness: ``strict``: with ``auto``, an error rather than leaving a GPU unused.
        device: ``cpu`` keeps ``auto`` off the GPU.
    """

    kind: IndexKind = "auto"
    strictness: Literal["fallback", "strict"] = "fallback"
    device: Device = "auto"


DEFAULT_OPTIONS = IndexOptions()


def open_index(
    dim: int,
    *,
    kind: IndexKind = "auto",
    expected: int = 0,
    device: Device = "auto",
    strict: bool = False,
) -> LayeredIndex:
    """An empty index of vectors of length ``dim``.

    ``auto`` takes the GPU for ``MIN_GPU`` vectors and more where FAISS searches on it, else
    ``flat``, and plain numpy where FAISS is not installed. Any other kind serves or is an error.

    Args:
        dim: length of the vectors.
        kind: ``flat`` compares everything on the CPU; ``hnsw`` and ``ivfpq`` approximate;
            ``gpu`` compares everything on a CUDA device; ``numpy`` is the plain fallback.
        expected: about how many vectors it will hold.
        device: ``cpu`` keeps ``auto`` off the GPU.
        strict: with ``auto``, an error rather than leaving a CUDA device unused.

    Raises:
        BackendUnavailable: the kind cannot serve here; says why.
        ValueError: no such kind, or ``dim`` is below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"no index '{kind}'; choose {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if kind == "numpy":
        return _numpy(dim, "requested")
    if kind == "gpu":
        return _gpu(dim, "requested")
    if kind == "auto":
        return _auto(dim, expected, use_gpu=device != "cpu", strict=strict)
    return _cpu(dim, kind, expected, "requested")


def index_over(
    ids: Ids, vectors: Vectors, *, options: IndexOptions = DEFAULT_OPTIONS
) -> LayeredIndex:
    """An index over existing vectors, which are not copied.

    Args:
        ids: N, none twice and none negative.
        vectors: N×D, of length 1.
        options: how to search them.

    Raises:
        BackendUnavailable: the kind cannot serve here; says why.
        InferenceError: it cannot take so many; ``auto`` falls back to the CPU, unless it is strict.
    """
    count, dim = vectors.shape
    strict = options.strictness == "strict"
    index = open_index(dim, kind=options.kind, expected=count, device=options.device, strict=strict)
    try:
        index.adopt(ids, vectors)
    except InferenceError as error:
        if index.kind != "gpu" or options.kind != "auto" or strict:
            raise
        index = _cpu(dim, "flat", count, f"{_exact(count)}; not on the GPU: {error}")
        index.adopt(ids, vectors)
    return index


def _auto(dim: int, expected: int, *, use_gpu: bool, strict: bool) -> LayeredIndex:
    """The GPU, else the CPU with FAISS, else numpy."""
    refused = ""
    if use_gpu and cuda_devices() and expected < MIN_GPU and not strict:
        refused = f"; the GPU begins at {MIN_GPU:,}"
    elif use_gpu and cuda_devices():
        try:
            return _gpu(dim, "exact, on the GPU")
        except BackendUnavailable as error:
            if strict:
                raise
            refused = f"; not on the GPU: {error}"
    try:
        return _cpu(dim, "flat", expected, _exact(expected) + refused)
    except BackendUnavailable as error:
        return _numpy(dim, f"{error}{refused}")


def _exact(count: int) -> str:
    return f"{count:,} vectors are searched exactly"


def _cpu(dim: int, kind: IndexKind, expected: int, reason: str) -> LayeredIndex:
    load_faiss()
    if kind == "flat":
        return LayeredIndex(dim, build=KnnCore, kind="flat", reason=reason)
    minimum = MIN_IVFPQ if kind == "ivfpq" else MIN_HNSW
    if expected < minimum:
        few = f"{kind} begins at {minimum:,} vectors, and {expected:,} are searched exactly"
        return LayeredIndex(dim, build=KnnCore, kind="flat", reason=few)
    from .approximate import HnswCore, IvfPqCore

    return LayeredIndex(
        dim,
        build=HnswCore if kind == "hnsw" else IvfPqCore,
        # Building takes minutes: later vectors are searched exactly until the next opening.
        policy=CompactionPolicy(tail_share=None, deleted_share=None),
        kind=kind,
        reason=reason,
    )


def _numpy(dim: int, reason: str) -> LayeredIndex:
    return LayeredIndex(dim, build=NumpyCore, kind="numpy", reason=reason)


def _gpu(dim: int, reason: str) -> LayeredIndex:
    """An index whose bulk is on the first CUDA device; BackendUnavailable where FAISS fails."""
    from .gpu import GpuFlatCore, probe_gpu

    proof = probe_gpu()
    return LayeredIndex(
        dim,
        build=GpuFlatCore,
        policy=CompactionPolicy(tail_share=0.125),
        kind="gpu",
        device="cuda:0",
        reason=f"{reason} ({proof})",
    )
