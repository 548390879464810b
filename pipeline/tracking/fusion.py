"""A track's fused embedding: the surest count most, correlated ones add little certainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats
from ..recognition.uncertainty import LIMIT, direction

# Frames closer than this carry nearly the same evidence: a face seen for one second in 25
# frames is not 25 independent embeddings. What an embedding adds to the certainty grows linearly
# with the time since the last one, from MIN_WEIGHT to 1.
CORRELATION_SECONDS = 1.0
MIN_WEIGHT = 0.1
# The power of the precision that weights an embedding. The errors of a track's embeddings are
# correlated, and poor embeddings of all people drift towards one place: 1/σ² itself trusts them too
# much. Chosen by benchmarks/identify_video.py --half dev, where 8 to 24 do equally well.
POWER = 10.0


class Template:
    """Σ w·mu / Σ w over the embeddings of one face, with one w = (1/σ²)^POWER per embedding.

    Computed one embedding at a time (PFE, Shi & Jain 2019, eq. 5, with a power). The weights do not
    depend on time: the surest embeddings decide, in any order and at any rate. The certainty does:
    it is that of the surest embedding, and one soon after another adds only a part of its own, so
    it grows with independent embeddings and not with the frame rate.
    """

    def __init__(self) -> None:
        self._weighted: NDArray[np.float64] | None = None
        self._weight = 0.0
        self._precision: NDArray[np.float64] | None = None
        self._last: float | None = None
        self.count = 0

    def add(self, mu: Floats, logvar: Floats, *, at: float) -> None:
        """Add an embedding ``mu`` (D, of any length) and its ``logvar`` (D).

        ``at`` is the presentation time in seconds.
        """
        bounded = np.asarray(logvar, np.float64).clip(-LIMIT, LIMIT)
        precision, weight = np.exp(-bounded), float(np.exp(-POWER * bounded.mean()))
        weighted = weight * direction(mu).astype(np.float64)
        if self._weighted is None or self._precision is None:
            self._weighted, self._weight, self._precision = weighted, weight, precision
        else:
            new = self._share(at)
            low = np.minimum(self._precision, precision)
            self._weighted = self._weighted + weighted
            self._weight = self._weight + weight
            self._precision = np.maximum(self._precision, precision) + new * low
        self._last = at
        self.count += 1

    @property
    def mu(self) -> Floats:
        """D float32, at most √D long, the scale of ``logvar``. Raises ValueError when empty."""
        if self._weighted is None:
            raise ValueError("a template without embeddings has no embedding")
        return np.asarray(self._weighted / self._weight, np.float32)

    @property
    def logvar(self) -> Floats:
        """D float32, log variance of ``mu``. Raises ValueError when empty."""
        if self._precision is None:
            raise ValueError("a template without embeddings has no variance")
        return np.asarray(-np.log(self._precision), np.float32)

    def similarity(self, mu: Floats) -> float:
        """Cosine of ``mu`` (D) to the template."""
        mine = self.mu
        scale = float(np.linalg.norm(mine) * np.linalg.norm(mu))
        return float(mine @ mu) / scale if scale > 0 else 0.0

    def _share(self, at: float) -> float:
        """How much of its certainty an embedding at that time adds."""
        passed = 0.0 if self._last is None else at - self._last
        return float(np.clip(passed / CORRELATION_SECONDS, MIN_WEIGHT, 1.0))
