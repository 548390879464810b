"""Gaussian embeddings compared and fused by their variances.

After Probabilistic Face Embeddings (Shi and Jain, 2019). The pipeline fuses a track's embeddings
one at a time (``tracking.fusion``); this compares ways of doing it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from facestream.pipeline.recognition.uncertainty import LIMIT
from numpy.typing import NDArray

from .embeddings import Floats

# Numbers that a block of the likelihoods' matrix may take (float64: 8 MB).
_BLOCK = 1_000_000


def mutual_likelihood_matrix(
    mu: NDArray[Any], logvar: NDArray[Any], other_mu: NDArray[Any], other_logvar: NDArray[Any]
) -> NDArray[np.float64]:
    """How likely each of N faces shares one latent code with each of M (MLS; PFE, 2019, eq. 3).

    s = −½ Σ_d [(μ_d − μ'_d)² / (σ_d² + σ'_d²) + log(σ_d² + σ'_d²)], without PFE's constant
    −D/2·log 2π. Equal variances make it a scaled and shifted squared distance.

    Computed in blocks of rows, so that it takes some tens of MB beside its N×M result, never
    N×M×D (as long as one row's M×D fits).

    Args:
        mu: N×D on the scale of the variances; of our encoder ``direction(mu)``.
        logvar: N×D.
        other_mu: M×D.
        other_logvar: M×D.

    Returns:
        N×M, higher is more likely; any real number.

    Raises:
        ValueError: shapes that do not fit.
    """
    a, variance_a = _gaussians(mu, logvar)
    b, variance_b = _gaussians(other_mu, other_logvar)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both sides must have one D, not {a.shape[1]} and {b.shape[1]}")
    scores = np.empty((len(a), len(b)))
    rows = max(1, _BLOCK // max(1, b.size))
    for start in range(0, len(a), rows):
        part = slice(start, start + rows)
        total = variance_a[part, None] + variance_b
        distance = (a[part, None] - b) ** 2 / total
        scores[part] = -0.5 * (distance + np.log(total)).sum(axis=-1)
    return scores


def _gaussians(
    mu: NDArray[Any], logvar: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mu, logvar = np.asarray(mu, np.float64), np.asarray(logvar, np.float64)
    if mu.ndim != 2 or mu.shape != logvar.shape:
        raise ValueError(f"mu and logvar must both be N×D, not {mu.shape} and {logvar.shape}")
    return mu, np.exp(logvar.clip(-LIMIT, LIMIT))


def fuse(
    mu: NDArray[Any],
    logvar: NDArray[Any],
    *,
    correlation: float = 0.0,
    power: float = 1.0,
    per: Literal["dimension", "face"] = "dimension",
) -> tuple[Floats, Floats]:
    """One embedding from several of the same person, weighted by precision.

    mu = Σ w_i·mu_i / Σ w_i with w_i = 1/σ_i² (PFE, 2019, eq. 5), or a power of it: where all
    pictures' errors share a part, that part is no reason to trust them alike, and the better
    ones deserve more than their precision says. The variance is that of the weighted mean of
    pictures whose errors correlate by ρ: (1 − ρ)·Σ w²σ² / (Σ w)² + ρ·(Σ wσ / Σ w)²; for
    independent pictures weighted by precision that is 1/Σ(1/σ_i²).

    Args:
        mu: N×D, N at least 1.
        logvar: N×D.
        correlation: ρ of the pictures' errors, 0 (independent) to 1 (the same picture again).
        power: of the precision in the weights; 0 gives the mean.
        per: a weight for each dimension, or one for each face (of the mean log variance).

    Returns:
        mu D and logvar D, float32; mu is not normalised.

    Raises:
        ValueError: no rows, shapes that differ, or a correlation or power out of range.
    """
    mu, logvar = np.asarray(mu, np.float64), np.asarray(logvar, np.float64)
    if mu.ndim != 2 or mu.shape != logvar.shape or len(mu) == 0:
        raise ValueError(
            f"mu and logvar must both be N×D with N ≥ 1, not {mu.shape} and {logvar.shape}"
        )
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation must be from 0 to 1, not {correlation}")
    if not power >= 0:
        raise ValueError(f"power must be 0 or more, not {power}")
    logvar = logvar.clip(-LIMIT, LIMIT)
    spread = logvar if per == "dimension" else logvar.mean(axis=1, keepdims=True)
    # Against the surest: a high power of a small variance would overflow.
    weight = np.broadcast_to(np.exp(power * (spread.min(axis=0) - spread)), mu.shape)
    weight = weight / weight.sum(axis=0)
    fused = (mu * weight).sum(axis=0)
    apart = (weight**2 * np.exp(logvar)).sum(axis=0)
    together = (weight * np.exp(logvar / 2)).sum(axis=0) ** 2
    variance = (1 - correlation) * apart + correlation * together
    return fused.astype(np.float32), np.log(variance).astype(np.float32)
