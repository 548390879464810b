"""Wires settings, the encoder's card and the cohort to a matcher; no arithmetic here."""

from __future__ import annotations

from facestream.engines.cards import ModelCard

from .config import RecognitionSettings
from .gallery import Gallery
from .gallery.decision import Thresholds
from .stages.matching import Matcher, NormalisedSearch, Searcher
from .vision.cohort import load_cohort


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
    max_sigma = recognition.max_sigma
    if max_sigma is None and cohort is not None and "max_sigma" in cohort.card.metrics:
        max_sigma = float(cohort.card.metrics["max_sigma"])
    thresholds = Thresholds.from_card(
        card,
        calibrated=None if cohort is None else cohort.card.thresholds,
        similarity=recognition.threshold,
        margin=recognition.margin,
        max_sigma=max_sigma,
        min_size=recognition.min_face_to_name,
    )
    searcher: Searcher | None = gallery
    if gallery is not None and cohort is not None:
        searcher = NormalisedSearch(gallery, cohort)
    return Matcher(searcher, thresholds)
