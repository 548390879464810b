"""A track's fused embedding: precision-weighted, with correlated frames discounted."""

from __future__ import annotations

import numpy as np

from ..types import Floats

# Frames closer than this carry nearly the same evidence: a face seen for one second in 25
# frames is not 25 independent looks. The weight of a look grows linearly with the time since
# the last one, from MIN_WEIGHT to 1.
CORRELATION_SECONDS = 1.0
MIN_WEIGHT = 0.1


class Template:
    """Σ w·mu/σ² ÷ Σ w/σ² over the looks at one face (PFE, Shi & Jain 2019, eq. 5, with weights).

    The weights w ≤ 1 discount frames that are close in time, so that the fused certainty grows
    with independent looks and not with the frame rate.
    """

    def __init__(self) -> None:
        self._weighted: Floats | None = None
        self._precision: Floats | None = None
        self._last: float | None = None
        self.looks = 0

    def add(self, mu: Floats, logvar: Floats, *, at: float) -> None:
        """Add a look.

        Args:
            mu: D, the embedding as the encoder gives it.
            logvar: D.
            at: presentation time in seconds.
        """
        weight = 1.0
        if self._last is not None:
            weight = float(np.clip((at - self._last) / CORRELATION_SECONDS, MIN_WEIGHT, 1.0))
        precision = np.float32(weight) * np.exp(-logvar)
        if self._weighted is None or self._precision is None:
            self._weighted = mu * precision
            self._precision = precision
        else:
            self._weighted = self._weighted + mu * precision
            self._precision = self._precision + precision
        self._last = at
        self.looks += 1

    @property
    def mu(self) -> Floats:
        """D float32, not normalised.

        Raises:
            ValueError: nothing was added yet.
        """
        if self._weighted is None or self._precision is None:
            raise ValueError("a template without looks has no embedding")
        fused: Floats = self._weighted / self._precision
        return fused

    @property
    def logvar(self) -> Floats:
        """D float32, log variance of ``mu``.

        Raises:
            ValueError: nothing was added yet.
        """
        if self._precision is None:
            raise ValueError("a template without looks has no variance")
        fused: Floats = -np.log(self._precision)
        return fused

    def similarity(self, mu: Floats) -> float:
        """Cosine of ``mu`` (D) to the template."""
        mine = self.mu
        scale = float(np.linalg.norm(mine) * np.linalg.norm(mu))
        return float(mine @ mu) / scale if scale > 0 else 0.0
