"""Proves FAISS on a GPU with real searches; run on its own: ``python gpu_probe.py DEVICE``.

A wheel without kernels for this GPU loads, and fails at the first search by ending the process
(FAISS aborts on CUDA errors). So the first search happens here, in a process of its own, which
imports nothing of facestream.
"""

from __future__ import annotations

import sys

import numpy as np


def probe(device: int) -> str:
    """Search in float32 and float16 and compare with numpy.

    Returns:
        FAISS's version.

    Raises:
        RuntimeError: FAISS refuses, or finds something else.
    """
    import faiss

    random = np.random.default_rng(0)
    vectors = random.standard_normal((2000, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:16]
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(16 << 20)
    for half in (False, True):
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16 = device, half
        index = faiss.GpuIndexFlatIP(resources, vectors.shape[1], config)
        index.add(vectors)
        similarities, ids = index.search(queries, 3)
        if (ids[:, 0] != np.arange(len(queries))).any() or abs(similarities[:, 0] - 1).max() > 1e-2:
            raise RuntimeError(f"wrong neighbours with {'float16' if half else 'float32'} storage")
    return str(faiss.__version__)


if __name__ == "__main__":
    sys.stdout.write(probe(int(sys.argv[1])))
