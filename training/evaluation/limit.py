"""The limit of doubt: from which sigma on a face is not worth a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float32]
# Nine in ten of such faces are missed anyway: what still matches is as likely to be chance.
HOPELESS: Final = 0.9
# Fewer probes than this beyond a limit are no ground for it.
FEWEST: Final = 30


@dataclass(frozen=True, slots=True)
class SigmaLimit:
    """Where naming should end.

    Attributes:
        value: faces of a greater sigma are ``uncertain``; infinite where nothing is hopeless.
        fnmr: share of the genuine probes beyond it that are missed.
        beyond: share of the genuine probes beyond it.
        matched_beyond: share of the genuine probes that match although they lie beyond it: what
            the limit costs.
    """

    value: float
    fnmr: float
    beyond: float
    matched_beyond: float


def sigma_limit(sigma: Floats, similarity: Floats, *, threshold: float) -> SigmaLimit:
    """The lowest sigma at which ``HOPELESS`` of the genuine probes are expected to be missed.

    The expectation is an isotonic regression of misses on sigma: it can only rise.

    Args:
        sigma: N, of the probes of genuine pairs.
        similarity: N, of each probe to its reference.
        threshold: from which a pair matches.

    Raises:
        ValueError: no probes, or lengths that differ.
    """
    if sigma.shape != similarity.shape or sigma.ndim != 1 or not len(sigma):
        raise ValueError(f"sigma and similarity must be N, not {sigma.shape}, {similarity.shape}")
    order = np.argsort(sigma, kind="stable")
    values, missed = sigma[order], similarity[order] < threshold
    hopeless = values[isotonic_regression(missed.astype(np.float64)).x >= HOPELESS]
    limit = round(float(hopeless[0]), 3) if len(hopeless) >= FEWEST else float("inf")
    beyond = values > limit
    return SigmaLimit(
        value=limit,
        fnmr=float(missed[beyond].mean()) if beyond.any() else float("nan"),
        beyond=float(beyond.mean()),
        matched_beyond=float((~missed & beyond).mean()),
    )
