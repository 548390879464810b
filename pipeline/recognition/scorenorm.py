"""Scores normalised against a cohort of strangers: how similar would anybody have been?

A face that resembles many strangers (a child for a network that saw few, a blurred one) gets high
similarities to everybody; one threshold for all then gives false names to some groups far more
often than to others. What a face has in common with its nearest strangers is therefore taken off.

Z-norm and T-norm come from speaker verification (Auckenthaler et al., "Score normalization for
text-independent speaker verification systems", 2000), S-norm from Kenny, "Bayesian speaker
verification with heavy-tailed priors", 2010, its adaptive cohort (only the nearest members) from
Cumani et al., 2011, and Matějka et al., "Analysis of score normalization in multilingual speaker
recognition", 2017. ``centred`` is S-norm without the division; with the nearest members it is
half the CSLS of Conneau et al., "Word translation without parallel data", 2018, and stays on the
scale of the cosine.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats

Method = Literal["z", "t", "s", "centred"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

# Rows compared with the cohort at once: 256 × 12,000 similarities are 12 MB.
_ROWS: Final = 256
# Up to so many rows BLAS is not asked. It shares even small products among threads, and its
# workers then spin for some 20 ms: with four live cameras that was a fifth of all CPU time.
_FEW: Final = 16


class Statistics(NamedTuple):
    """Similarities of faces to the cohort.

    Attributes:
        mean: one a face.
        deviation: one a face, above 0.
    """

    mean: Floats
    deviation: Floats

    def column(self) -> Statistics:
        """N×1, for the rows of a matrix of scores."""
        return Statistics(self.mean[:, None], self.deviation[:, None])

    def take(self, rows: NDArray[np.int64]) -> Statistics:
        """Those of these faces."""
        return Statistics(self.mean[rows], self.deviation[rows])


def cohort_statistics(unit: NDArray[Any], cohort: NDArray[Any], *, top: int) -> Statistics:
    """Mean and deviation of each face's similarities to its nearest members of a cohort.

    Args:
        unit: N×D, of length 1.
        cohort: M×D, of length 1.
        top: how many of the most similar members count; M or more means all.

    Raises:
        ValueError: shapes that do not fit, or ``top`` is below 1.
    """
    if unit.ndim != 2 or cohort.ndim != 2 or unit.shape[1] != cohort.shape[1] or not len(cohort):
        raise ValueError(
            f"faces N×D and a cohort M×D, M ≥ 1, are needed, not {unit.shape} and {cohort.shape}"
        )
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    mean = np.empty(len(unit), np.float32)
    deviation = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _ROWS):
        rows = slice(start, start + _ROWS)
        near = _similarities(unit[rows], cohort)
        if top < len(cohort):
            near.partition(len(cohort) - top, axis=1)
            near = near[:, len(cohort) - top :]
        mean[rows] = near.mean(axis=1)
        deviation[rows] = near.std(axis=1)
    return Statistics(mean, np.maximum(deviation, np.float32(1e-6)))


def _similarities(unit: NDArray[Any], cohort: NDArray[Any]) -> NDArray[Any]:
    """N×M."""
    if len(unit) <= _FEW:
        return np.asarray(np.einsum("nd,md->nm", unit, cohort))
    return np.asarray(unit @ cohort.T)


def z_norm(scores: NDArray[Any], template: Statistics) -> Floats:
    """(score − mean) ÷ deviation of the template's similarities to the cohort.

    Args:
        scores: any shape.
        template: broadcasts against ``scores``.
    """
    return np.asarray((scores - template.mean) / template.deviation, np.float32)


def t_norm(scores: NDArray[Any], probe: Statistics) -> Floats:
    """(score − mean) ÷ deviation of the probe's similarities to the cohort."""
    return np.asarray((scores - probe.mean) / probe.deviation, np.float32)


def s_norm(scores: NDArray[Any], probe: Statistics, template: Statistics) -> Floats:
    """The mean of Z-norm and T-norm."""
    return np.asarray((z_norm(scores, template) + t_norm(scores, probe)) / 2, np.float32)


def centred(
    scores: NDArray[Any], probe: Floats, template: Floats, *, typical: float = 0.0
) -> Floats:
    """score − ½ (mean of the probe + mean of the template) + typical.

    Args:
        scores: any shape.
        probe: the probes' means over the cohort; broadcasts against ``scores``.
        template: the templates' means.
        typical: a mean that is usual; for such faces the score stays what it was.
    """
    return np.asarray(scores - (probe + template) / 2 + typical, np.float32)


def normalised(
    method: Method, scores: NDArray[Any], probe: Statistics, template: Statistics
) -> Floats:
    """The scores by one of ``METHODS``; ``probe`` and ``template`` broadcast against them.

    Raises:
        ValueError: no such method.
    """
    if method == "z":
        return z_norm(scores, template)
    if method == "t":
        return t_norm(scores, probe)
    if method == "s":
        return s_norm(scores, probe, template)
    if method == "centred":
        return centred(scores, probe.mean, template.mean)
    raise ValueError(f"no score normalisation is called {method!r}; choose from {METHODS}")
