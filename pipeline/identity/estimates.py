"""Rates and probabilities with their intervals, estimated from similarities of people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from facestream.engines.cards import Calibration
from numpy.typing import NDArray
from scipy import optimize

Scores = NDArray[np.float64]

BINS: Final = 10


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class ReliabilityBin(NamedTuple):
    """Searches of about one stated probability.

    Attributes:
        stated: their mean probability, 0..1.
        right: the share of them that was right, 0..1.
        weight: their share of all, 0..1.
    """

    stated: float
    right: float
    weight: float


def bootstrap_people(
    people: NDArray[Any],
    figure: Callable[[NDArray[np.int64]], float],
    *,
    draws: int = 200,
    seed: int = 0,
) -> Estimate:
    """A figure of N rows with its interval (percentiles), people being drawn with all their rows.

    Args:
        people: N, the person of each row.
        figure: computes it from numbers of rows, of which some occur several times. Draws for
            which it is NaN are left out.
        draws: resamples.
    """
    rng = np.random.default_rng(seed)
    _, number = np.unique(people, return_inverse=True)
    value = figure(np.arange(len(number)))
    size = int(number.max(initial=-1)) + 1
    if size == 0:
        return Estimate(value, value, value)
    drawn = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, size, size), minlength=size)
        drawn.append(figure(np.repeat(np.arange(len(number)), times[number])))
    kept = np.array(drawn)[np.isfinite(drawn)]
    if not len(kept):
        return Estimate(value, value, value)
    low, high = np.percentile(kept, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def wilson(count: float, total: float) -> Estimate:
    """A share and its 95 % interval (Wilson, 1927); ``total`` 0 says nothing: 0 to 1."""
    if total <= 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z = 1.96
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    return Estimate(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def fit_probability(
    scores: NDArray[Any], right: NDArray[np.bool_], weights: NDArray[Any]
) -> Calibration:
    """The logistic map from similarity to the probability of being right (Platt, 1999).

    The slope never falls below 0: more similar is never less probable.

    Args:
        scores: N similarities. right: N. weights: N, 0 or more.

    Raises:
        ValueError: all are right, or none is.
    """
    scores, target = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    weights = np.asarray(weights, np.float64)
    if not (right.any() and (~right).any()):
        raise ValueError("a probability needs right and wrong answers")
    centre = float(np.average(scores, weights=weights))

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = at[0] * (scores - centre) + at[1]
        costs = np.logaddexp(0, logits) - target * logits
        errors = weights * (0.5 * (1 + np.tanh(0.5 * logits)) - target)
        # A little shrinkage: perfectly separable scores would give an infinite slope.
        return (
            float((weights * costs).sum() / weights.sum() + 1e-7 * at[0] ** 2),
            np.array([(errors * (scores - centre)).sum(), errors.sum()]) / weights.sum()
            + np.array([2e-7 * at[0], 0]),
        )

    found = optimize.minimize(
        loss, np.array([20.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.1, 200), (None, None)]
    )
    slope, offset = (float(value) for value in found.x)
    return Calibration(slope=slope, intercept=offset - slope * centre)


def probabilities(scores: NDArray[Any], calibration: Calibration) -> Scores:
    """The calibrated probability of each score."""
    logits = calibration.slope * np.asarray(scores, np.float64) + calibration.intercept
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float64)


def reliability(
    stated: NDArray[Any], right: NDArray[np.bool_], weights: NDArray[Any]
) -> list[ReliabilityBin]:
    """How often what was stated with a probability was right, by tenths of the probability."""
    stated, weights = np.asarray(stated, np.float64), np.asarray(weights, np.float64)
    number = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    total = weights.sum()
    bins = []
    for one in np.unique(number):
        mine = number == one
        weight = weights[mine]
        if weight.sum() > 0:
            bins.append(
                ReliabilityBin(
                    float(np.average(stated[mine], weights=weight)),
                    float(np.average(right[mine], weights=weight)),
                    float(weight.sum() / total),
                )
            )
    return bins


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: the mean distance of stated and true, 0..1 (Naeini, 2015)."""
    return float(sum(one.weight * abs(one.stated - one.right) for one in bins))
