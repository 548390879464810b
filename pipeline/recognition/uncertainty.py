"""Uncertainty of embeddings, and their normalisation.

The encoder gives a mean mu and a log variance for each dimension of a face's embedding. After
Probabilistic Face Embeddings (Shi and Jain, 2019) and Data Uncertainty Learning (Chang et al.,
2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats

# exp() of a float32 must stay finite, and so must a sum of a few thousand of them.
LIMIT = 60.0


def sigma(logvar: NDArray[Any]) -> Floats:
    """Uncertainty of embeddings: the geometric mean of the deviations of ``logvar``, N×D.

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


def direction(mu: NDArray[Any]) -> Floats:
    """Embeddings N×D (or one, D) at length √D: the scale that the encoder's logvar is on."""
    unit = normalise(mu)
    return np.asarray(unit * np.float32(unit.shape[-1] ** 0.5), np.float32)
