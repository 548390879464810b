"""The figures of a calibration, for JSON, the table and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..identity.decision import Thresholds
from ..identity.estimates import Estimate, bootstrap_people
from .evidence import CameraRate, Judged
from .fit import ProbabilityFit, ThresholdFit, detection_error, misses, named
from .searches import GallerySearches

REPORTED_ON = "people who had no part in the fit: five parts, each judged by what fits the others"
_SHOWN = 50


def basis_of(searches: GallerySearches) -> str:
    """What was fitted on."""
    return (
        f"{len(searches.strangers):,} strangers of the cohort searched among {searches.photos:,} "
        f"photos of {searches.people:,} people, these people searched as if not enrolled, "
        f"and {len(searches.mated):,} searches for them by other photos"
    )


def report_of(
    searches: GallerySearches,
    threshold: ThresholdFit,
    ceilings: Mapping[int, float],
    probability: ProbabilityFit | None,
    *,
    card: Thresholds,
    names: Mapping[int, str],
    rates: Sequence[CameraRate],
    judged: Sequence[Judged],
) -> dict[str, Any]:
    """All figures, rounded.

    Args:
        ceilings: by person id.
        card: the thresholds without the calibration, for as many photos.
        names: by person id.
    """
    value, others = threshold.threshold.value, searches.others

    def needed(person: int) -> float:
        return max(value, ceilings.get(person, -1.0))

    by_card = np.asarray(searches.others.best >= card.similarity, np.float64)
    own = named(others, needed, card.margin).astype(np.float64)
    return {
        "threshold": _estimate(threshold.threshold),
        "tail": {
            "shift": round(threshold.shift, 4),
            "start": round(threshold.tail.start, 4),
            "share": round(threshold.tail.share, 4),
            "shape": round(threshold.tail.shape, 4),
            "scale": round(threshold.tail.scale, 4),
            "p_value": round(threshold.fits, 3),
        },
        "fitted_on": basis_of(searches),
        "reported_on": REPORTED_ON,
        "measured": {
            "false_alarms": _estimate(threshold.false_alarms),
            "false_alarms_of_cohort": _estimate(threshold.cohort_alarms),
            "misses": _estimate(misses(searches.mated, needed, card.margin)),
            "own_people_named_wrongly": _estimate(
                bootstrap_people(others.searched, lambda rows: float(own[rows].mean()))
            ),
        },
        "without": {
            "threshold": round(card.similarity, 4),
            "false_alarms": _estimate(
                bootstrap_people(others.searched, lambda rows: float(by_card[rows].mean()))
            ),
            "misses": _estimate(misses(searches.mated, lambda _: card.similarity, card.margin)),
        },
        "searches_of_enrolled": len(searches.mated),
        "lookalikes": _lookalikes(searches, ceilings, names),
        "probability": None if probability is None else _probability(probability),
        "cameras": [_camera(rate, threshold.false_alarms) for rate in rates],
        "judged": {
            "right": sum(one.right for one in judged),
            "wrong": sum(not one.right for one in judged),
            "still_named": sum(
                one.similarity >= needed(one.person_id) for one in judged if not one.right
            ),
        },
        "det": [
            [round(alarms, 5), round(missed, 5)]
            for alarms, missed in detection_error(
                searches.mated, searches.strangers, threshold.shift
            )
        ],
    }


def _estimate(one: Estimate) -> dict[str, float | None]:
    return {
        key: round(value, 4) if np.isfinite(value) else None for key, value in one._asdict().items()
    }


def _probability(found: ProbabilityFit) -> dict[str, Any]:
    return {
        "slope": round(found.calibration.slope, 3),
        "intercept": round(found.calibration.intercept, 3),
        "calibration_error": round(found.error, 4),
        "people": found.people,
        "reliability": [
            {key: round(value, 4) for key, value in one._asdict().items()} for one in found.bins
        ],
    }


def _lookalikes(
    searches: GallerySearches, ceilings: Mapping[int, float], names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Who needs more than the threshold, and because of whom (None: a rejected sighting)."""
    found = []
    for person, ceiling in sorted(ceilings.items(), key=lambda one: -one[1])[:_SHOWN]:
        mine = np.flatnonzero(searches.others.person == person)
        other, similarity = None, -1.0
        if len(mine):
            at = mine[int(searches.others.best[mine].argmax())]
            other, similarity = int(searches.others.searched[at]), float(searches.others.best[at])
        if similarity < ceiling - 1e-3:
            other = None
        found.append(
            {
                "person_id": person,
                "name": names.get(person),
                "resembles": None if other is None else names.get(other),
                "resembles_id": other,
                "needs": round(ceiling, 4),
            }
        )
    return found


def _camera(rate: CameraRate, false_alarms: Estimate) -> dict[str, Any]:
    a_day = rate.unnamed / rate.days
    return {
        "source": rate.source,
        "days": round(rate.days, 2),
        "sightings_a_day": round(rate.sightings / rate.days, 2),
        "unnamed_a_day": round(a_day, 2),
        "false_alarms_a_day": {
            key: round(a_day * value, 4) for key, value in false_alarms._asdict().items()
        },
    }
