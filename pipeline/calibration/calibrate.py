"""Calibrates a database to its own gallery, to strangers and to what its users judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from facestream.engines.cards import CalibratedThresholds, ModelCard

from ..core.config import RecognitionSettings
from ..core.errors import UsageError
from ..gallery import Gallery
from ..gallery.calibrated import clear_calibration, write_calibration
from ..identity.calibrated import LEAST_STRANGERS, StoredCalibration, own_cohort
from ..identity.decision import Thresholds
from ..identity.grouping import open_grouping
from ..identity.search import open_rules
from ..recognition.cohort import Cohort, load_cohort
from ..sightings import Sightings
from .evidence import CameraRate, Judged, Strangers, camera_rates, judged_names, own_strangers
from .fit import ProbabilityFit, ThresholdFit, ceilings, false_matches, fit_best, fit_threshold
from .report import basis_of, report_of
from .searches import GallerySearches, search_gallery

# Fewer people are no gallery of which anything general could be said.
LEAST_PEOPLE: Final = 10
# For the probability: people with a second photo.
LEAST_MATED: Final = 10
# Sigma of a clear picture, where the card does not say.
CLEAR: Final = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """What a calibration found.

    Attributes:
        stored: to be applied; None: there is too little to calibrate on, and the thresholds stay.
        missing: what is missing, a line each.
        report: the figures, for JSON.
        searches: the searches behind them, for pictures; None where ``stored`` is.
        members: rows of the sightings of the own cohort.
    """

    stored: StoredCalibration | None
    missing: tuple[str, ...]
    report: dict[str, Any]
    searches: GallerySearches | None = None
    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """Of the stored sightings; ``strangers`` where they are to be the cohort."""

    rates: list[CameraRate]
    judged: list[Judged]
    strangers: Strangers | None


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    threshold: ThresholdFit
    ceilings: dict[int, float]
    probability: ProbabilityFit | None
    missing: tuple[str, ...]

    def needed(self, person: int) -> float:
        return max(self.threshold.threshold.value, self.ceilings.get(person, -1.0))


def calibrate(
    gallery: Gallery,
    sightings: Sightings,
    card: ModelCard,
    recognition: RecognitionSettings,
    *,
    false_alarms: float | None = None,
    with_own_cohort: bool = False,
) -> CalibrationResult:
    """Calibrate; nothing is changed (see `apply_calibration`).

    Args:
        gallery: the people. sightings: of the same database.
        card: the encoder's.
        recognition: the settings.
        false_alarms: share of strangers who may get a name in one search, 0..1; None: as set.
        with_own_cohort: normalise by this installation's own strangers.

    Raises:
        ModelMismatch: the gallery's embeddings are another model's.
        UsageError: the rate is none, or an own cohort cannot be used.
    """
    rate = recognition.false_alarms if false_alarms is None else false_alarms
    if not 0 < rate < 1:
        raise UsageError(f"a rate of false alarms lies between 0 and 1, not {rate:g}")
    gallery.require_model(card.id)
    rules = open_rules(card, recognition, None)[0]  # not those of an earlier one
    shipped = load_cohort(card.id)
    evidence = _evidence(sightings, card, recognition, rules, with_own_cohort)
    snapshot = gallery.snapshot()
    people = len(np.unique(snapshot.templates.person_ids))
    about: dict[str, Any] = {
        "model": card.id,
        "people": people,
        "photos": len(snapshot.templates.mu),
        "false_alarms": rate,
        "own_cohort": None if evidence.strangers is None else len(evidence.strangers.rows),
    }
    if people < LEAST_PEOPLE:
        noun = "person" if people == 1 else "people"
        missing = (
            f"the gallery has {people} {noun} with photos, a calibration needs {LEAST_PEOPLE}: "
            "the threshold of the model card stays",
        )
        return CalibrationResult(None, missing, about | {"missing": list(missing)})
    searches = search_gallery(
        snapshot.templates, shipped, _cohort(shipped, recognition, evidence.strangers)
    )
    fitted = _fit(searches, evidence.judged, rate)
    card_rules = rules.among(searches.photos)
    about |= report_of(
        searches, fitted.threshold, fitted.ceilings, fitted.probability,
        card=card_rules, names=snapshot.names, rates=evidence.rates, judged=evidence.judged,
    )  # fmt: skip
    about["missing"] = list(fitted.missing)
    kept = card.thresholds if recognition.normalise == "none" else shipped.card.thresholds
    stored = StoredCalibration(
        model=card.id,
        normalise=recognition.normalise,
        own_cohort=evidence.strangers is not None,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        thresholds=_thresholds(searches, fitted, rate, kept),
        ceilings=fitted.ceilings,
        report=about,
    )
    members = () if evidence.strangers is None else evidence.strangers.rows
    return CalibrationResult(stored, fitted.missing, about, searches, members)


def apply_calibration(sightings: Sightings, found: CalibrationResult) -> None:
    """Store it: runs that open the database from now on use it.

    Raises:
        UsageError: there is nothing to apply.
    """
    if found.stored is None:
        raise UsageError("; ".join(found.missing))
    with sightings.writing() as connection:
        write_calibration(connection, found.stored, found.members)


def reset_calibration(sightings: Sightings) -> bool:
    """Use the model cards' thresholds again; False: there was no calibration."""
    with sightings.writing() as connection:
        return clear_calibration(connection)


def _evidence(
    sightings: Sightings,
    card: ModelCard,
    recognition: RecognitionSettings,
    rules: Thresholds,
    with_own_cohort: bool,
) -> _Evidence:
    if with_own_cohort and recognition.normalise == "none":
        raise UsageError('--own-cohort needs recognition.normalise = "cohort"')
    judged = judged_names(sightings)
    with sightings.reading() as connection:
        rates = camera_rates(connection, rules.max_sigma)
        strangers = None
        if with_own_cohort:
            sigma = CLEAR if rules.stranger is None else rules.stranger.sigma
            rule = open_grouping(card, recognition, None)
            strangers = own_strangers(connection, card.id, sigma, rule)
    if strangers is not None and len(strangers.rows) < LEAST_STRANGERS:
        raise UsageError(
            f"{len(strangers.rows)} people were seen clearly and called strangers, and an own "
            f"cohort needs {LEAST_STRANGERS}: the cohort that ships stays; calibrate without "
            "--own-cohort"
        )
    return _Evidence(rates, judged, strangers)


def _cohort(
    shipped: Cohort, recognition: RecognitionSettings, strangers: Strangers | None
) -> Cohort | None:
    if recognition.normalise == "none":
        return None
    return shipped if strangers is None else own_cohort(strangers.mu, shipped)


def _fit(searches: GallerySearches, judged: list[Judged], rate: float) -> _Fitted:
    threshold = fit_threshold(searches.strangers, searches.others, rate)
    wrong = [(one.person_id, one.similarity) for one in judged if not one.right]
    needs = ceilings(searches.others, wrong, threshold.threshold.value)
    people = len(np.unique(searches.mated.searched))
    if people < LEAST_MATED:
        missing = (
            f"{people} people have a second photo, and the probability needs {LEAST_MATED}: that "
            "of the model card stays, and misses are not known well",
        )
        return _Fitted(threshold, needs, None, missing)
    table = np.array([(one.similarity, one.right) for one in judged], np.float64).reshape(-1, 2)
    probability = fit_best(searches.mated, searches.strangers, threshold.shift, table)
    return _Fitted(threshold, needs, probability, ())


def _thresholds(
    searches: GallerySearches, fitted: _Fitted, rate: float, kept: CalibratedThresholds | None
) -> CalibratedThresholds:
    basis = basis_of(searches)
    probability = None if kept is None else kept.probability
    if fitted.probability is not None:
        probability = fitted.probability.calibration
    return CalibratedThresholds(
        similarity=round(min(fitted.threshold.threshold.value, 1.0), 4),
        fmr=float(-np.expm1(np.log1p(-rate) / searches.photos)),
        basis=basis,
        probability=probability,
        false_matches=false_matches(fitted.threshold.tail, searches.photos, basis=basis),
        stranger=None if kept is None else kept.stranger,
    )
