"""Verification figures from similarities: accuracy by folds, accept rates, thresholds, intervals.

Pure functions of arrays; a pair counts as accepted when its similarity is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float32] | NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """Accuracy of each fold, at the threshold that is best on the other folds.

    Attributes:
        folds: accuracy by fold, 0..1.
        thresholds: the thresholds used.
        mean: the mean accuracy with its 95 % interval (Student's t over the folds).
        deviation: standard deviation over the folds.
    """

    folds: NDArray[np.float64]
    thresholds: NDArray[np.float64]
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
    accuracies, thresholds = [], []
    for number in np.unique(fold):
        inside = fold == number
        threshold = best_threshold(similarity[~inside], genuine[~inside])
        accepted = similarity[inside] >= threshold
        accuracies.append(float((accepted == genuine[inside]).mean()))
        thresholds.append(threshold)
    values = np.array(accuracies)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    half = 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / len(values) ** 0.5
    return FoldAccuracy(
        folds=values,
        thresholds=np.array(thresholds),
        mean=Interval(mean, mean - half, min(1.0, mean + half)),
        deviation=deviation,
    )


def threshold_at_fmr(impostor: Floats, fmr: float) -> float:
    """The lowest threshold at which at most this share of impostor pairs is accepted.

    It lies midway between the last impostor accepted and the first refused.

    Args:
        impostor: similarities of N pairs of different people.
        fmr: false-match rate, 0..1.

    Raises:
        ValueError: fewer pairs than the rate can be told from.
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
    y = np.concatenate([np.ones(len(genuine)), np.zeros(len(impostor))])
    weight = np.concatenate(
        [np.full(len(genuine), 0.5 / len(genuine)), np.full(len(impostor), 0.5 / len(impostor))]
    )
    design = np.stack([s, np.ones_like(s)], axis=1)
    theta = np.zeros(2)
    penalty = np.diag([1e-6, 1e-9])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -60, 60)))
        gradient = design.T @ (weight * (p - y)) + penalty @ theta
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design + penalty
        change = np.linalg.solve(curvature, gradient)
        # A full Newton step can overshoot where p is nearly 0 or 1.
        theta -= change * min(1.0, 10.0 / max(1e-12, float(np.abs(change).max())))
        if np.abs(change).max() < 1e-6:
            break
    return float(theta[0]), float(theta[1])


def fnmr_after_reject(
    genuine: Floats, impostor: Floats, doubt: Floats, *, fmr: float, reject: float
) -> tuple[float, float]:
    """FNMR with all genuine pairs, and without the most doubtful share of them.

    The threshold is fixed on all impostor pairs (the error-versus-reject curve's convention).

    Args:
        genuine: similarities of N pairs.
        impostor: similarities.
        doubt: N, high where the probe is doubtful.
        fmr: rate for the threshold.
        reject: share to leave out, 0..1.
    """
    missed = np.asarray(genuine, np.float64) < threshold_at_fmr(impostor, fmr)
    keep = np.argsort(doubt, kind="stable")[: len(doubt) - round(reject * len(doubt))]
    return float(missed.mean()), float(missed[keep].mean())
