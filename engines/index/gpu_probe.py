"""Proves FAISS on the first GPU with a real search; run on its own: ``python gpu_probe.py``.

A wheel without kernels for this GPU loads, and fails at the first search by ending the process
(FAISS aborts on CUDA errors). So the first search happens here, in a process of its own, which
imports nothing of facestream. It prints FAISS's version.
"""

import sys

import faiss
import numpy as np

vectors = np.random.default_rng(0).standard_normal((2000, 128)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
resources = faiss.StandardGpuResources()
resources.setTempMemory(16 << 20)
config = faiss.GpuIndexFlatConfig()
config.device, config.useFloat16 = 0, True
index = faiss.GpuIndexFlatIP(resources, vectors.shape[1], config)
index.add(vectors)
similarities, ids = index.search(vectors[:16], 3)
if (ids[:, 0] != np.arange(16)).any() or abs(similarities[:, 0] - 1).max() > 1e-2:
    raise RuntimeError("wrong neighbours")
sys.stdout.write(str(faiss.__version__))
