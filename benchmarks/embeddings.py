"""Galleries of any size: the shipped embeddings, and beyond them random ones like them.

Embeddings of faces use fewer directions than uniform random vectors, for which an approximate
index is useless. The random ones have the mean and covariance of the shipped cohort (12,396
strangers) and length 1.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from facestream.engines.cards import MODELS
from facestream.pipeline.core.types import Floats

_BLOCK = 100_000

# Cosine of a probe to the template it was made from: an ordinary second picture of a person.
PROBE_COSINE = 0.7


def cohort() -> Floats:
    """The shipped embeddings, M×D of length 1."""
    return unit(np.load(MODELS / "vae_cohort.npy").astype(np.float32))


def write_gallery(path: Path, count: int, *, seed: int = 5) -> None:
    """Write count×D float32 vectors of length 1 as ``.npy``: the cohort first.

    The same seed gives the same vectors, and a smaller gallery is the beginning of a larger one.
    """
    real = cohort()
    dim = real.shape[1]
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, dim))
    have = min(count, len(real))
    out[:have] = real[:have]
    rng = np.random.default_rng(seed)
    for start in range(have, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        out[start : start + rows] = random_embeddings(_BLOCK, rng)[:rows]
    out.flush()


def probes(gallery: Floats, count: int, *, seed: int = 6) -> tuple[Floats, Floats]:
    """Queries of people in the gallery (at `PROBE_COSINE` to theirs) and of strangers, each
    count×D of length 1."""
    rng = np.random.default_rng(seed)
    theirs = np.asarray(gallery[rng.integers(0, len(gallery), count)])
    noise = random_embeddings(count, rng)
    # The part orthogonal to the template, in the proportion that gives the cosine.
    noise = unit(noise - (noise * theirs).sum(axis=1, keepdims=True) * theirs)
    known = PROBE_COSINE * theirs + np.sqrt(1 - PROBE_COSINE**2) * noise
    return unit(known.astype(np.float32)), random_embeddings(count, rng)


def nearest(gallery: Floats, queries: Floats) -> Floats:
    """The largest similarity of each query in the gallery, by brute force."""
    best = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(gallery), _BLOCK):
        block = np.asarray(gallery[start : start + _BLOCK])
        np.maximum(best, (queries @ block.T).max(axis=1), out=best)
    return best


def random_embeddings(count: int, rng: np.random.Generator) -> Floats:
    mean, root = _shape()
    noise = rng.standard_normal((count, len(root)), dtype=np.float32)
    return unit(mean + noise @ root)


@functools.cache
def _shape() -> tuple[Floats, Floats]:
    """The cohort's mean D, and a root R (D×D) of its covariance: RᵀR is the covariance."""
    real = cohort()
    mean = real.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(real, rowvar=False))
    root = np.sqrt(np.maximum(values, 0))[:, None] * axes.T
    return mean, root.astype(np.float32)


def unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)
