"""FAISS on a CUDA device: exact over float16 or float32, or IVF-PQ for what does not fit.

``faiss-gpu`` has no removal, and neither its indexes nor its ``StandardGpuResources`` may be used
by two threads at once, not even to search (FAISS issues 1572 and 4525). So each thread that makes
a core has resources of its own, and all searches of cores that share them take turns. Additions
and removals are ``LayeredIndex``'s. The wheel of 1.15.1 is built without cuVS (no CAGRA;
``use_cuvs`` would be ignored), so the classical kernels are requested explicitly.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import BackendUnavailable, InferenceError
from .approximate import probes, subvectors
from .cores import Positions, Vectors
from .library import faiss_message, load_faiss

GpuStorage = Literal["float16", "float32"]

# FAISS reserves 1.5 GB or 18 % of the device by default; a search in 1,000,000 vectors needs the
# similarities of one tile of queries, and FAISS makes the tiles fit.
TEMP_BYTES = 256 << 20
# Most neighbours, and lists, the kernels select (GPU_MAX_SELECTION_K).
_MOST_NEIGHBOURS = 2048
# Vectors uploaded at once: a copy in float32 is on the device before it is rounded.
_UPLOAD = 262_144
_PROBE_SECONDS = 120.0


class _DeviceResources:
    """A thread's resources, and the lock of all cores that share them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.resources: Any = load_faiss().StandardGpuResources()
        self.resources.setTempMemory(TEMP_BYTES)


class _PerThread(threading.local):
    """Each thread's own."""

    resources: _DeviceResources | None = None


_PER_THREAD = _PerThread()


def _device_resources() -> _DeviceResources:
    if _PER_THREAD.resources is None:
        _PER_THREAD.resources = _DeviceResources()
    return _PER_THREAD.resources


class _GpuCore:
    """Base of the cores on a GPU."""

    max_k: int | None = _MOST_NEIGHBOURS

    def __init__(self) -> None:
        self._shared = _device_resources()
        self._index: Any = None

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with self._shared.lock:
            try:
                found: tuple[Vectors, Positions] = self._index.search(queries, k)
            except RuntimeError as error:
                raise InferenceError(
                    f"the faiss search on the GPU failed: {faiss_message(error)}"
                ) from error
        return found

    def _fill(self, vectors: Vectors) -> None:
        """Upload; the caller holds the lock."""
        for start in range(0, len(vectors), _UPLOAD):
            self._index.add(np.ascontiguousarray(vectors[start : start + _UPLOAD]))


class GpuFlatCore(_GpuCore):
    """Every vector on the device.

    float32 finds exactly what the CPU finds. float16 takes half the memory and bandwidth and
    rounds (relative error up to 2⁻¹¹), so more candidates are searched and scored again.

    Raises:
        InferenceError: the device has no memory for them.
    """

    def __init__(
        self, vectors: Vectors, *, device: int = 0, storage: GpuStorage = "float16"
    ) -> None:
        super().__init__()
        self.exact = storage == "float32"
        faiss = load_faiss()
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16, config.use_cuvs = device, storage == "float16", False
        with self._shared.lock:
            try:
                self._index = faiss.GpuIndexFlatIP(self._shared.resources, vectors.shape[1], config)
                self._fill(vectors)
            except RuntimeError as error:
                raise _no_room(vectors, error) from error


class GpuIvfPqCore(_GpuCore):
    """Codes of D/4 bytes a vector on the device, trained there.

    Raises:
        InferenceError: the device has no memory for them, or there are too few to train on.
    """

    exact = False

    def __init__(self, vectors: Vectors, *, device: int = 0) -> None:
        super().__init__()
        faiss = load_faiss()
        count, dim = vectors.shape
        config = faiss.GpuIndexIVFPQConfig()
        config.device, config.use_cuvs = device, False
        # Tables of 8 bits × D/4 parts fit into the shared memory of old devices only when halved.
        config.useFloat16LookupTables = True
        lists = max(1, min(int(4 * count**0.5), count // 40))
        with self._shared.lock:
            try:
                self._index = faiss.GpuIndexIVFPQ(
                    self._shared.resources,
                    dim,
                    lists,
                    subvectors(dim),
                    8,
                    faiss.METRIC_INNER_PRODUCT,
                    config,
                )
                sample = np.random.default_rng(0).choice(
                    count, min(count, max(40 * lists, 65536)), replace=False
                )
                self._index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
                self._fill(vectors)
                self._index.nprobe = min(_MOST_NEIGHBOURS, probes(lists))
            except RuntimeError as error:
                raise _no_room(vectors, error) from error


def _no_room(vectors: Vectors, error: RuntimeError) -> InferenceError:
    return InferenceError(
        f"{len(vectors)} vectors of {vectors.shape[1]} cannot be put on the GPU "
        f"({faiss_message(error)}); use the index 'flat'"
    )


@cache
def probe_gpu(device: int = 0) -> str:
    """Search for real on the device, in another process; once per process.

    Returns:
        What serves, in words.

    Raises:
        BackendUnavailable: FAISS is not there, is the CPU's, sees no GPU, or its search fails;
            says which and what to install.
    """
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise BackendUnavailable(
            f"faiss {faiss.__version__} is the CPU's; to search on a GPU: "
            "pip uninstall faiss-cpu, then pip install faiss-gpu"
        )
    devices = int(faiss.get_num_gpus())
    if device >= devices:
        raise BackendUnavailable(f"faiss sees {devices} GPUs, so there is no cuda:{device}")
    script = Path(__file__).with_name("gpu_probe.py")
    try:
        # -P: the script's folder is not searched for modules.
        ran = subprocess.run(
            [sys.executable, "-P", str(script), str(device)],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendUnavailable(f"the probe of faiss on cuda:{device} failed: {error}") from error
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]
        raise BackendUnavailable(
            f"faiss {faiss.__version__} cannot search on cuda:{device} "
            f"({last.rpartition(' Error: ')[2][:200]}); "
            "pip install 'faiss-gpu>=1.15', which has kernels for it"
        )
    return f"faiss {ran.stdout.strip()} on cuda:{device}"
