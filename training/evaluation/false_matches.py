"""How similar strangers are: thresholds of small false-match rates, for searches over many.

The strangers are the labelled training people of the cohort, one picture each, every one with
every other. No picture of an evaluation set is among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from facestream.engines.cards import FalseMatches
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray

from ..data.face_sets import FaceRow
from ..errors import DataError
from .embeddings import Floats
from .protocol import threshold_at_fmr

RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Rarer scores are left out of the fit: among millions of pairs a few are one person twice, whom
# the sets know by two names, and they fill the far tail.
FITTED: Final = (1e-2, 1e-4)
_POINTS: Final = 9
_CHUNK: Final = 512


def false_matches(rows: Sequence[FaceRow], mu: Floats, cohort: Cohort | None) -> FalseMatches:
    """Thresholds of false-match rates, from a cohort's labelled people.

    Args:
        rows: N members of the cohort, in its order.
        mu: N×D, theirs.
        cohort: normalises the similarities, each member's without that member; None leaves the
            cosines.

    Raises:
        DataError: there are too few labelled people to see the tail.
    """
    chosen = np.array([i for i, row in enumerate(rows) if row.identity is not None], np.int64)
    people = [rows[i].identity or "" for i in chosen]
    pairs = len(chosen) * (len(chosen) - 1) // 2
    if pairs * FITTED[1] < 1:
        raise DataError(
            f"{len(chosen)} labelled people make {pairs} pairs, too few for a false-match rate of "
            f"{FITTED[1]:g}; give the cohort more of them"
        )
    unit = normalise(mu[chosen])
    scores = all_impostors(
        people, unit, None if cohort is None else _centring(unit, chosen, cohort)
    )
    fitted = np.geomspace(*FITTED, _POINTS)
    slope, centre = np.polyfit(
        [deviate(rate) for rate in fitted], [threshold_at_fmr(scores, r) for r in fitted], 1
    )
    seen = [rate for rate in RATES if rate * len(scores) >= 1]
    measured = ", ".join(f"{threshold_at_fmr(scores, rate):.4f} at {rate:g}" for rate in seen)
    return FalseMatches(
        rates=RATES,
        similarities=tuple(round(float(centre + slope * deviate(rate)), 4) for rate in RATES),
        basis=(
            f"all {len(scores):,} pairs of {len(chosen):,} labelled training people, one picture "
            f"each{'' if cohort is None else ', normalised'}; none of an evaluation set"
        ),
        fit=(
            f"Gaussian tail, {centre:.4f} + {slope:.4f} times the normal deviate, by least squares "
            f"to the rates from {FITTED[0]:g} to {FITTED[1]:g}; measured: {measured}"
        ),
    )


def deviate(rate: float) -> float:
    """How many standard deviations above its mean a Gaussian is with this probability."""
    return -NormalDist().inv_cdf(rate)


def all_impostors(
    people: Sequence[str], unit: Floats, centring: tuple[Cohort, Floats] | None = None
) -> Floats:
    """Similarities of all pairs of pictures of different people.

    Args:
        people: the person of each of N pictures.
        unit: N×D, of length 1.
        centring: normalises the cosines: a cohort, and ``Cohort.means`` of the pictures, N.
    """
    person = np.unique(np.asarray(people), return_inverse=True)[1]
    parts = []
    for start in range(0, len(unit), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(unit)))
        later = np.arange(len(unit))[None] > rows[:, None]
        scores = unit[rows] @ unit.T
        if centring is not None:
            cohort, means = centring
            scores = cohort.normalised(scores, means[rows][:, None], means)
        parts.append(scores[later & (person[rows][:, None] != person[None])])
    return np.concatenate(parts)


def _centring(unit: Floats, members: NDArray[np.int64], cohort: Cohort) -> tuple[Cohort, Floats]:
    """``Cohort.means`` of members of the cohort, each against the others."""
    means = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = unit[rows] @ cohort.vectors.T
        cosines[np.arange(len(cosines)), members[rows]] = -np.inf
        top = min(cohort.top, cosines.shape[1] - 1)
        means[rows] = np.partition(cosines, -top, axis=1)[:, -top:].mean(axis=1)
    return cohort, means
