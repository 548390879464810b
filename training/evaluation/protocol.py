"""Verification figures from similarities: accuracy by folds, accept rates, thresholds, intervals.

Pure functions of arrays; a pair counts as accepted when its similarity is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

Floats = NDArray[np.float32] | NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def percentiles(value: float, draws: ArrayLike) -> Interval:
    """A figure with the 95 % interval of its bootstrap draws."""
    low, high = np.percentile(np.asarray(draws, np.float64), (2.5, 97.5))
    return Interval(float(value), float(low), float(high))


def mean_interval(values: ArrayLike) -> Interval:
    """The mean with its 95 % interval (Student's t)."""
    array = np.asarray(values, np.float64)
    mean, half = float(array.mean()), 0.0
    if len(array) > 1:
        half = float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5)
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy of each fold, at the threshold that is best on the other folds.

    Attributes:
        folds: accuracy by fold, 0..1.
        mean: the mean accuracy with its 95 % interval (Student's t over the folds).
        deviation: standard deviation over the folds.
    """

    folds: NDArray[np.float64]
    mean: Interval
    deviation: float


def best_threshold(similarity: Floats, genuine: Flags) -> float:
    """The threshold of the highest accuracy; of several equal ones the middle of the first run.

    Args:
        similarity: N.
        genuine: N, True where both pictures show one person.
    """
    order = np.argsort(similarity, kind="stable")
    values = np.asarray(similarity, np.float64)[order]
    flags = genuine[order]
    # Cut before position i: i pairs are refused. right[i] = refused impostors + accepted genuine.
    refused_impostors = np.concatenate([[0], np.cumsum(~flags)])
    accepted_genuine = flags.sum() - np.concatenate([[0], np.cumsum(flags)])
    right = (refused_impostors + accepted_genuine).astype(np.float64)
    # A cut between equal values cannot be made.
    right[1:-1][values[1:] == values[:-1]] = -1
    cut = int(np.argmax(right))
    if cut == 0:
        return float(values[0]) - 1e-6
    if cut == len(values):
        return float(values[-1]) + 1e-6
    return float((values[cut - 1] + values[cut]) / 2)


def fold_accuracy(similarity: Floats, genuine: Flags, fold: NDArray[np.int64]) -> FoldAccuracy:
    """LFW's protocol (view 2): for each fold the threshold comes from the other folds.

    Args:
        similarity: N.
        genuine: N.
        fold: N, the fold of each pair.
    """
    accuracies = []
    for number in np.unique(fold):
        inside = fold == number
        threshold = best_threshold(similarity[~inside], genuine[~inside])
        accepted = similarity[inside] >= threshold
        accuracies.append(float((accepted == genuine[inside]).mean()))
    values = np.array(accuracies)
    mean = mean_interval(values)
    return FoldAccuracy(
        folds=values,
        mean=Interval(mean.value, mean.low, min(1.0, mean.high)),
        deviation=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
    )


def finest_rate(rate: float, pairs: int) -> float:
    """The rate, or the finest one that so many impostor pairs allow."""
    return max(rate, 1 / pairs)


def threshold_at_fmr(impostor: Floats, fmr: float) -> float:
    """The lowest threshold at which at most this share of impostor pairs is accepted.

    It lies midway between the last impostor accepted and the first refused.

    Args:
        impostor: similarities of N pairs of different people.
        fmr: false-match rate, 0..1.

    Raises:
        ValueError: too few pairs for the rate.
    """
    count = int(np.floor(fmr * len(impostor) + 1e-9))
    if count < 1 or count >= len(impostor):
        raise ValueError(f"{len(impostor)} impostor pairs cannot tell a false-match rate of {fmr}")
    top = np.partition(np.asarray(impostor, np.float64), len(impostor) - count - 1)
    top = np.sort(top[len(impostor) - count - 1 :])
    return float((top[0] + top[1]) / 2)


def wilson(successes: int, total: int) -> Interval:
    """A share with its 95 % interval (Wilson 1927)."""
    if total == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    result = stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    return Interval(successes / total, float(result.low), float(result.high))


def tar_at_far(genuine: Floats, impostor: Floats, far: float) -> Interval:
    """Share of genuine pairs accepted at the threshold that accepts ``far`` of the impostors."""
    accepted = np.asarray(genuine, np.float64) >= threshold_at_fmr(impostor, far)
    return wilson(int(accepted.sum()), len(accepted))


def fit_probability(genuine: Floats, impostor: Floats) -> tuple[float, float]:
    """Slope and intercept of p = 1 / (1 + exp(−(slope·s + intercept))), both sides equally likely.

    A slight L2 penalty keeps the slope finite where the sides do not overlap.
    """
    s = np.concatenate([np.asarray(genuine, np.float64), np.asarray(impostor, np.float64)])
    same = np.repeat([1, 0], (len(genuine), len(impostor)))
    weight = np.where(same, 0.5 / len(genuine), 0.5 / len(impostor))
    model = LogisticRegression(C=1e6, solver="newton-cholesky", tol=1e-9, max_iter=200)
    model.fit(s[:, None], same, sample_weight=weight)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def fnmr_after_reject(
    genuine: Floats, impostor: Floats, uncertainty: Floats, *, fmr: float, reject: float
) -> tuple[float, float]:
    """FNMR with all genuine pairs, and without the most uncertain share of them.

    The threshold is fixed on all impostor pairs (the error-versus-reject curve's convention).

    Args:
        genuine: similarities of N pairs.
        impostor: similarities.
        uncertainty: N, high where the probe is to be rejected first.
        fmr: rate for the threshold.
        reject: share to leave out, 0..1.
    """
    missed = np.asarray(genuine, np.float64) < threshold_at_fmr(impostor, fmr)
    keep = np.argsort(uncertainty, kind="stable")[: len(genuine) - round(reject * len(genuine))]
    return float(missed.mean()), float(missed[keep].mean())
