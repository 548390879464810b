"""How rare high similarities of strangers are: a generalised Pareto fit of the upper tail.

Above a high level the excesses of almost any distribution follow a generalised Pareto distribution
(Pickands, 1975; Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001). Its
shape is fitted too, so that a heavy or bounded tail is not taken for a Gaussian one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Shares of the scores that may count as the tail: the widest that a fit explains is taken.
SHARES: Final = (0.1, 0.05)
# Excesses below which a shape cannot be told.
LEAST: Final = 40
# A tail with a smaller p-value of the check is not generalised Pareto.
REJECTED: Final = 0.05
_DRAWS: Final = 99


@dataclass(frozen=True, slots=True)
class Tail:
    """The upper tail of scores.

    Attributes:
        start: where it begins.
        share: of the scores above ``start``, 0..1.
        shape, scale: of the generalised Pareto distribution of the excesses; a shape below 0 has a
            greatest score.
        count: how many scores lie in it.
    """

    start: float
    share: float
    shape: float
    scale: float
    count: int

    def rate(self, score: float) -> float:
        """Share of the scores above this one; at most ``share``."""
        return float(self.share * self.excess.sf(score - self.start))

    def score(self, rate: float) -> float:
        """The score that this share exceeds, 0 < rate; at least ``start``."""
        if rate >= self.share:
            return self.start
        return float(self.start + self.excess.isf(rate / self.share))

    @property
    def excess(self) -> Any:
        """The distribution of the excesses."""
        # SciPy divides by the shape: one next to 0 would overflow.
        shape = self.shape if abs(self.shape) > 1e-9 else 0.0
        return stats.genpareto(shape, 0, self.scale)


def fit_tail(scores: NDArray[Any], share: float | None = None) -> Tail:
    """Fit the tail of N scores.

    Args:
        scores: N, finite.
        share: of the scores that are the tail; None: the widest of `SHARES` that fits.

    Raises:
        ValueError: fewer than `LEAST` scores would be in the tail.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    if share is not None:
        return _fit(ordered, share)
    fits = [_fit(ordered, one) for one in SHARES if round(one * len(ordered)) >= LEAST]
    if not fits:
        raise ValueError(f"{len(ordered)} scores are too few for a tail of {LEAST}")
    return max(fits, key=lambda tail: (min(_kolmogorov(ordered, tail), 0.1), tail.share))


def _fit(ordered: NDArray[np.float64], share: float) -> Tail:
    count = round(share * len(ordered))
    if count < LEAST:
        raise ValueError(f"{len(ordered)} scores are too few for a tail of {LEAST}")
    start = float(ordered[-count - 1])
    shape, scale = _shape_and_scale(ordered[-count:] - start)
    return Tail(start, count / len(ordered), shape, scale, count)


def _shape_and_scale(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Of N rising excesses, by L-moments (Hosking and Wallis, 1987): no iteration, no failure."""
    count = len(excesses)
    mean = float(excesses.mean())
    half = float((np.arange(count) / (count - 1) * excesses).mean())
    spread = 2 * half - mean
    if spread <= 0:  # all alike
        return 0.0, max(mean, 1e-9)
    shape = 2 - mean / spread
    return shape, max(mean * (1 - shape), 1e-9)


def _kolmogorov(ordered: NDArray[np.float64], tail: Tail) -> float:
    fitted = tail.excess
    return float(stats.kstest(ordered[-tail.count :] - tail.start, fitted.cdf).pvalue)


def check_tail(scores: NDArray[Any], tail: Tail, *, seed: int = 0) -> float:
    """How well the tail fits: the p-value, 0..1, of the Kolmogorov-Smirnov distance.

    The shape and scale are fitted to the very scores, so the distance is compared with those of
    samples of the fitted distribution that are fitted in the same way (parametric bootstrap).
    Below `REJECTED` the fit does not explain the scores.
    """
    excesses = np.sort(np.asarray(scores, np.float64))[-tail.count :] - tail.start
    fitted = tail.excess
    seen = float(stats.kstest(excesses, fitted.cdf).statistic)
    rng = np.random.default_rng(seed)
    worse = 0
    for _ in range(_DRAWS):
        drawn = np.sort(fitted.rvs(tail.count, random_state=rng))
        shape, scale = _shape_and_scale(drawn)
        again = stats.genpareto(shape, 0, scale)
        worse += float(stats.kstest(drawn, again.cdf).statistic) >= seen
    return (1 + worse) / (1 + _DRAWS)
