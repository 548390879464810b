"""Thresholds, ceilings and probabilities from searches whose right answer is known.

What is reported is measured on people who had no part in the fit: people are dealt to five parts,
and each part is judged by what was fitted on the other four. Within these, the tail's beginning is
chosen. What is stored is fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from facestream.engines.cards import Calibration, FalseMatches
from numpy.typing import NDArray

from ..identity.estimates import (
    Estimate,
    ReliabilityBin,
    bootstrap_people,
    calibration_error,
    fit_probability,
    probabilities,
    reliability,
    wilson,
)
from ..identity.tail import Tail, check_tail, fit_tail
from .searches import Searches

PARTS: Final = 5
DRAWS: Final = 100
# Shares of strangers' searches whose thresholds are stored.
RATES: Final = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 1e-4, 1e-5)
# Quantiles by which the gallery's people are compared with the cohort: the middle is sure with few
# people, and a few twins do not move it.
_LEVELS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
# A ceiling lies this much above the similarity that somebody else reached.
_ABOVE: Final = 1e-4

Floats64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ThresholdFit:
    """The similarity that this share of the strangers exceeds.

    Attributes:
        threshold: with its interval (bootstrap over strangers and over the gallery's people).
        tail: of the strangers' best similarities, raised by ``shift``.
        shift: how much more similar than the cohort's strangers the gallery's people are to others
            of the gallery.
        fits: p-value of the tail's check, 0..1; below 0.05 it does not explain them.
        false_alarms: the share measured on the gallery's own people, each searched as if not
            enrolled, who were not in the fit.
        cohort_alarms: the same on strangers of the cohort who were not in the fit.
    """

    threshold: Estimate
    tail: Tail
    shift: float
    fits: float
    false_alarms: Estimate
    cohort_alarms: Estimate


@dataclass(frozen=True, slots=True)
class ProbabilityFit:
    """The probability that a search's best person is right, half of the searches being strangers'.

    Attributes:
        calibration: of all searches.
        error: expected calibration error on people who were not in the fit.
        bins: of the same.
        people: how many enrolled people were searched.
    """

    calibration: Calibration
    error: float
    bins: list[ReliabilityBin]
    people: int


def parts_of(people: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """The part, 0..`PARTS` − 1, of each of N rows; a person's rows are in one part."""
    _, number = np.unique(people, return_inverse=True)
    rng = np.random.default_rng(seed)
    dealt = rng.permutation(int(number.max(initial=-1)) + 1) % PARTS
    return np.asarray(dealt[number], np.int64)


def fit_threshold(strangers: Searches, others: Searches, false_alarms: float) -> ThresholdFit:
    """The threshold of a share of false alarms.

    The cohort's strangers are many, so their tail has a shape; but who comes past a camera
    resembles the people of its gallery more (age, origin, light, lens). The gallery's own people,
    each searched as if not enrolled, show by how much: the tail is raised by that.

    Args:
        strangers: searches for a cohort.
        others: the photos of the gallery, each searched among the other people.
        false_alarms: the share.

    Raises:
        ValueError: there are too few strangers.
    """
    scores, own = (np.asarray(one.best, np.float64) for one in (strangers, others))
    tail = fit_tail(scores)
    shift = _shift(scores, own)
    rng = np.random.default_rng(1)

    def threshold(rows: NDArray[np.int64]) -> float:
        drawn = scores[rng.integers(0, len(scores), len(scores))]
        fitted = score_of(drawn, fit_tail(drawn, tail.share), false_alarms)
        return fitted + _shift(drawn, own[rows])

    passed = np.zeros(len(own), np.bool_)
    cohort_passed = 0
    part, own_part = parts_of(strangers.searched), parts_of(others.searched)
    for one in range(PARTS):
        rest = scores[part != one]
        limit = score_of(rest, fit_tail(rest), false_alarms)
        raised = limit + _shift(rest, own[own_part != one])
        cohort_passed += int((scores[part == one] >= raised).sum())
        passed[own_part == one] = own[own_part == one] >= raised
    spread = bootstrap_people(others.searched, threshold, draws=DRAWS)
    value = score_of(scores, tail, false_alarms) + shift
    return ThresholdFit(
        Estimate(value, min(spread.low, value), max(spread.high, value)),
        replace(tail, start=tail.start + shift),
        shift,
        check_tail(scores, tail),
        _by_person(passed, others.searched),
        wilson(cohort_passed, len(scores)),
    )


def _shift(scores: Floats64, own: Floats64) -> float:
    """How much higher the scores of the gallery's people lie, by their quantiles; at least 0."""
    own = own[np.isfinite(own)]
    if not len(own):
        return 0.0
    return max(0.0, float((np.quantile(own, _LEVELS) - np.quantile(scores, _LEVELS)).mean()))


def _by_person(passed: NDArray[np.bool_], people: NDArray[np.int64]) -> Estimate:
    """The share of passed searches; a person counts once, however many photos there are."""
    _, number, count = np.unique(people, return_inverse=True, return_counts=True)
    return wilson(float((passed / count[number]).sum()), len(count))


def score_of(scores: Floats64, tail: Tail, rate: float) -> float:
    """The score that this share exceeds: by the tail, or below it by counting."""
    if rate >= tail.share:
        return float(np.quantile(scores, 1 - rate))
    return tail.score(rate)


def false_matches(tail: Tail, photos: int, *, basis: str) -> FalseMatches:
    """The tail of a whole search as rates of one comparison: 1 − (1 − FMR)^photos is its rate.

    So the threshold of a search among as many photos is the measured one, and it follows when the
    gallery grows.
    """
    rates: list[float] = []
    similarities: list[float] = []
    for rate in (tail.share, *(one for one in RATES if one < tail.share)):
        similarity = round(min(tail.score(rate), 1.0), 6)
        if not similarities or similarity > similarities[-1]:
            rates.append(float(-np.expm1(np.log1p(-rate) / photos)))
            similarities.append(similarity)
    return FalseMatches(
        rates=tuple(rates),
        similarities=tuple(similarities),
        basis=basis,
        fit=(
            f"generalised Pareto tail of the best similarity above {tail.start:.4f} "
            f"({tail.share:.0%} of the searches), shape {tail.shape:.3f}, scale {tail.scale:.4f}"
        ),
    )


def ceilings(
    others: Searches, judged: list[tuple[int, float]], threshold: float
) -> dict[int, float]:
    """What the names of people need who have look-alikes.

    Args:
        others: each photo searched as if its person were not enrolled.
        judged: person and similarity of names that a human rejected.
        threshold: below it nobody needs a ceiling.

    Returns:
        Person id to the similarity needed.
    """
    found: dict[int, float] = {}
    pairs = [*zip(others.person.tolist(), others.best.tolist(), strict=True), *judged]
    for person, similarity in pairs:
        if person >= 0 and similarity >= threshold:
            found[person] = max(found.get(person, -1.0), round(similarity + _ABOVE, 4))
    return found


def named(searches: Searches, needed: Callable[[int], float], margin: float) -> NDArray[np.bool_]:
    """N, True where the search gives a name, right or wrong."""
    limits = np.array([needed(person) for person in searches.person.tolist()])
    return np.asarray(
        (searches.person >= 0)
        & (searches.best >= limits)
        & (searches.best - searches.second >= margin),
        np.bool_,
    )


def misses(mated: Searches, needed: Callable[[int], float], margin: float) -> Estimate:
    """Share of the searches for enrolled people that do not give their name."""
    missed = ~(named(mated, needed, margin) & mated.right)
    return bootstrap_people(mated.searched, lambda rows: float(missed[rows].mean()))


def fit_best(
    mated: Searches, strangers: Searches, shift: float, judged: NDArray[Any] | None = None
) -> ProbabilityFit:
    """The calibrated probability.

    Args:
        mated: searches for enrolled people. strangers: for others.
        shift: by which the strangers' similarities are raised, see `fit_threshold`.
        judged: similarity and right (0 or 1) of names that a human judged, J×2; only for the fit.

    Raises:
        ValueError: no search is right, or none is wrong.
    """
    searched = np.concatenate([mated.searched, strangers.searched])
    scores = np.concatenate([mated.best, strangers.best + shift]).astype(np.float64)
    scores = np.where(np.isfinite(scores), scores, -1.0)
    right = np.concatenate([mated.right, np.zeros(len(strangers), np.bool_)])
    weights = np.concatenate(
        [np.full(len(one), 0.5 / max(1, len(one))) for one in (mated, strangers)]
    )
    extra = np.zeros((0, 2)) if judged is None else np.asarray(judged, np.float64)
    extra_weight = np.full(len(extra), 0.5 / max(1, len(mated)))

    def fit(chosen: NDArray[np.bool_]) -> Calibration:
        return fit_probability(
            np.concatenate([scores[chosen], extra[:, 0]]),
            np.concatenate([right[chosen], extra[:, 1] > 0.5]),
            np.concatenate([weights[chosen], extra_weight]),
        )

    part = parts_of(searched)
    stated = np.empty(len(scores))
    for one in range(PARTS):
        stated[part == one] = probabilities(scores[part == one], fit(part != one))
    bins = reliability(stated, right, weights)
    return ProbabilityFit(
        fit(np.ones(len(scores), np.bool_)),
        calibration_error(bins),
        bins,
        len(np.unique(mated.searched)),
    )


def detection_error(
    mated: Searches, strangers: Searches, shift: float, *, points: int = 60
) -> list[tuple[float, float]]:
    """False alarms and misses at rising thresholds (the DET curve), both 0..1."""
    right = np.sort(np.where(mated.right, mated.best, -np.inf))
    wrong = np.sort(strangers.best + shift)
    least, most = float(np.quantile(wrong, 0.2)), float(wrong.max()) + 1e-6
    curve = []
    for threshold in np.linspace(least, most, points):
        alarms = 1 - np.searchsorted(wrong, threshold) / len(wrong)
        missed = np.searchsorted(right, threshold) / max(1, len(right))
        curve.append((float(alarms), float(missed)))
    return curve
