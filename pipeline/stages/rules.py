"""Wires settings, the encoder's card and the cohort to matching and its rules; no arithmetic."""

from __future__ import annotations

from typing import Literal

from facestream.engines.cards import ModelCard
from facestream.engines.index import IndexOptions

from ..core.config import RecognitionSettings, RuntimeSettings, Settings
from ..gallery import Gallery
from ..gallery.search import GallerySearch
from ..identity.decision import Thresholds
from ..identity.hysteresis import NamingRules
from ..identity.search import Matcher
from ..recognition.cohort import Cohort, load_cohort
from ..tracking.embedding_schedule import LookPolicy
from .recognise import TrackingRules
from .track_events import TellingRules


def open_matcher(
    gallery: Gallery | None, card: ModelCard, recognition: RecognitionSettings
) -> Matcher:
    """The matcher that the settings ask for.

    Args:
        gallery: who is known; None recognises nobody.
        card: the encoder's.
        recognition: see the class.

    Raises:
        ModelError: the cohort is missing, damaged or another encoder's.
        ConfigError: there is no threshold.
    """
    cohort = load_cohort(card.id) if recognition.normalise == "cohort" else None
    searcher = None if gallery is None else GallerySearch(gallery, card.id, cohort)
    return Matcher(searcher, _thresholds(card, recognition, cohort))


def searching_of(runtime: RuntimeSettings) -> IndexOptions:
    """How the settings want a gallery to be searched."""
    strictness: Literal["fallback", "strict"] = "strict" if runtime.strict_device else "fallback"
    return IndexOptions(runtime.index, strictness, runtime.device)


def rules_of(settings: Settings, card: ModelCard) -> TrackingRules:
    """How the faces of one source are followed, named and told of.

    Args:
        settings: the source's own.
        card: the encoder's.

    Raises:
        ModelError: the cohort is missing, damaged or another encoder's.
        ConfigError: there is no threshold.
    """
    tracking, recognition, encoder = settings.tracking, settings.recognition, settings.encoder
    return TrackingRules(
        min_iou=tracking.iou,
        absence_seconds=tracking.absence_timeout,
        looks=LookPolicy(policy=encoder.looks, max_looks=encoder.max_looks),
        naming=NamingRules(
            thresholds=open_thresholds(card, recognition),
            confirm=tracking.confirm,
            release=recognition.release,
        ),
        telling=TellingRules(min_faces=tracking.min_faces, cooldown=tracking.cooldown),
    )


def open_thresholds(card: ModelCard, recognition: RecognitionSettings) -> Thresholds:
    """The thresholds that the settings (of one camera) ask for.

    Raises:
        ModelError: the cohort is missing, damaged or another encoder's.
        ConfigError: there is no threshold.
    """
    cohort = load_cohort(card.id) if recognition.normalise == "cohort" else None
    return _thresholds(card, recognition, cohort)


def _thresholds(
    card: ModelCard, recognition: RecognitionSettings, cohort: Cohort | None
) -> Thresholds:
    max_sigma = recognition.max_sigma
    if max_sigma is None and cohort is not None and "max_sigma" in cohort.card.metrics:
        max_sigma = float(cohort.card.metrics["max_sigma"])
    return Thresholds.from_card(
        card,
        calibrated=None if cohort is None else cohort.card.thresholds,
        similarity=recognition.threshold,
        margin=recognition.margin,
        max_sigma=max_sigma,
        min_size=recognition.min_face_to_name,
        false_alarms=recognition.false_alarms,
    )
