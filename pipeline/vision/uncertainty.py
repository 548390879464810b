"""What the encoder's variance says, and embeddings put together by it.

The encoder gives a mean mu and a log variance for each dimension of a face's embedding. After
Probabilistic Face Embeddings (Shi and Jain, 2019) and Data Uncertainty Learning (Chang et al.,
2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Floats

# exp() of a float32 must stay finite, and so must a sum of a few thousand of them.
_LIMIT = 60.0


def sigma(logvar: NDArray[Any]) -> Floats:
    """How uncertain each embedding is: the geometric mean of its dimensions' deviations.

    Args:
        logvar: N×D.

    Returns:
        N float32, above 0; larger means that the picture says less about identity.
    """
    logvar = np.asarray(logvar, np.float32)
    if logvar.ndim != 2 or logvar.shape[1] == 0:
        raise ValueError(f"logvar must be N×D, not {logvar.shape}")
    result: Floats = np.exp(logvar.mean(axis=1) / 2)
    return result


def normalise(mu: NDArray[Any]) -> Floats:
    """Embeddings N×D (or one, D) at length 1; one of length 0 stays as it is."""
    mu = np.asarray(mu, np.float32)
    length = np.linalg.norm(mu, axis=-1, keepdims=True)
    return np.asarray(np.divide(mu, length, out=np.zeros_like(mu), where=length > 0), np.float32)


def fuse(
    mu: NDArray[Any], logvar: NDArray[Any], *, correlation: float = 0.0
) -> tuple[Floats, Floats]:
    """One embedding from several of the same person, weighted by precision.

    mu = Σ(mu_i/σ_i²) / Σ(1/σ_i²), dimension by dimension. For independent pictures its variance
    is 1/Σ(1/σ_i²). Pictures whose errors correlate by ρ cannot make it smaller than ρ times that
    of a typical one: it is (1 − ρ + ρ·N) / Σ(1/σ_i²).

    Args:
        mu: N×D, N at least 1.
        logvar: N×D.
        correlation: ρ of the pictures' errors, 0 (independent) to 1 (the same picture again).

    Returns:
        mu D and logvar D, float32; mu is not normalised.

    Raises:
        ValueError: no rows, shapes that differ, or a correlation out of range.
    """
    mu, logvar = np.asarray(mu, np.float64), np.asarray(logvar, np.float64)
    if mu.ndim != 2 or mu.shape != logvar.shape or len(mu) == 0:
        raise ValueError(
            f"mu and logvar must both be N×D with N ≥ 1, not {mu.shape} and {logvar.shape}"
        )
    if not 0 <= correlation <= 1:
        raise ValueError(f"correlation must be from 0 to 1, not {correlation}")
    precision = np.exp(-logvar.clip(-_LIMIT, _LIMIT))
    total = precision.sum(axis=0)
    fused = (mu * precision).sum(axis=0) / total
    variance = (1 - correlation + correlation * len(mu)) / total
    return fused.astype(np.float32), np.log(variance).astype(np.float32)
