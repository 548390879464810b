"""FAISS on a CUDA device: every vector in float16, compared with every query.

``faiss-gpu`` has no removal, and neither its indexes nor its ``StandardGpuResources`` may be used
by two threads at once, not even to search (FAISS issues 1572 and 4525). So each core has resources
of its own and a lock; additions and removals are ``LayeredIndex``'s. The wheel of 1.15.1 is built
without cuVS, so the classical kernels are requested explicitly.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendUnavailable, InferenceError
from .cores import Positions, Vectors
from .library import faiss_message, load_faiss

# FAISS reserves 1.5 GB or 18 % of the device by default; a search in 1,000,000 vectors needs the
# similarities of one tile of queries, and FAISS makes the tiles fit.
TEMP_BYTES = 256 << 20
# Page-locked memory of the host for copies; FAISS takes 256 MB by default, for each core.
PINNED_BYTES = 16 << 20
# Most neighbours the kernels select (GPU_MAX_SELECTION_K).
_MOST_NEIGHBOURS = 2048
# Vectors uploaded at once: a copy in float32 is on the device before it is rounded.
_UPLOAD = 262_144
_PROBE_SECONDS = 120.0


class GpuFlatCore:
    """Every vector on the device. See ``Core``.

    float16 takes half the memory and bandwidth and rounds (relative error up to 2⁻¹¹), so more
    candidates are searched and scored again in float32.

    Args:
        vectors: N×D.

    Raises:
        InferenceError: the device cannot hold them; says what FAISS says.
    """

    exact = False
    max_k: int | None = _MOST_NEIGHBOURS

    def __init__(self, vectors: Vectors) -> None:
        faiss = load_faiss()
        self._lock = threading.Lock()
        self._resources: Any = faiss.StandardGpuResources()
        self._resources.setTempMemory(TEMP_BYTES)
        self._resources.setPinnedMemory(PINNED_BYTES)
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16, config.use_cuvs = 0, True, False
        try:
            self._index: Any = faiss.GpuIndexFlatIP(self._resources, vectors.shape[1], config)
            for start in range(0, len(vectors), _UPLOAD):
                self._index.add(np.ascontiguousarray(vectors[start : start + _UPLOAD]))
        except RuntimeError as error:
            raise InferenceError(
                f"{len(vectors)} vectors of {vectors.shape[1]} cannot be put on the GPU "
                f"({faiss_message(error)}); use the index 'flat'"
            ) from error

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with self._lock:
            try:
                found: tuple[Vectors, Positions] = self._index.search(queries, k)
            except RuntimeError as error:
                raise InferenceError(
                    f"the faiss search on the GPU failed: {faiss_message(error)}"
                ) from error
        return found


@cache
def probe_gpu() -> str:
    """Search for real on the first device, in another process; once per process.

    Returns:
        Version and device.

    Raises:
        BackendUnavailable: FAISS is not installed, has no GPU support, sees no GPU, or its search
            fails; says which and what to install.
    """
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise BackendUnavailable(
            f"faiss {faiss.__version__} is the CPU's; to search on a GPU: "
            "pip uninstall faiss-cpu, then pip install faiss-gpu"
        )
    if faiss.get_num_gpus() < 1:
        raise BackendUnavailable("faiss sees no GPU")
    script = Path(__file__).with_name("gpu_probe.py")
    try:
        # -P: the script's folder is not searched for modules.
        ran = subprocess.run(
            [sys.executable, "-P", str(script)],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendUnavailable(f"the probe of faiss on cuda:0 failed: {error}") from error
    if ran.returncode != 0:
        last = (ran.stderr.strip().splitlines() or [f"it ended with {ran.returncode}"])[-1]
        raise BackendUnavailable(
            f"faiss {faiss.__version__} cannot search on cuda:0 "
            f"({last.rpartition(' Error: ')[2][:200]}); "
            "pip install 'faiss-gpu>=1.15', which has kernels for it"
        )
    return f"faiss {ran.stdout.strip()} on cuda:0"
