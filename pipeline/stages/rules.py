"""How the faces of a source are tracked, identified and reported."""

from __future__ import annotations

from dataclasses import dataclass, field

from facestream.engines.cards import ModelCard

from ..core.config import Settings
from ..identity.calibrated import CalibratedRules
from ..identity.hysteresis import HysteresisRules
from ..identity.search import open_rules
from ..tracking.embedding_schedule import EmbeddingPolicy
from .limits import SourceLimits
from .track_events import EmissionRules


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """How the faces of a source are tracked, identified and reported.

    Attributes:
        min_iou: overlap from which two boxes are the same face.
        absence_seconds: a track ends when its face was not seen for this long.
        embedding: when a face is embedded again.
        hysteresis: how names are given and kept.
        emission: when an event is emitted.
        limits: of a live source; None: none.
    """

    min_iou: float = 0.3
    absence_seconds: float = 1.0
    embedding: EmbeddingPolicy = field(default_factory=EmbeddingPolicy)
    hysteresis: HysteresisRules = field(default_factory=HysteresisRules)
    emission: EmissionRules = field(default_factory=EmissionRules)
    limits: SourceLimits | None = None


def rules_of(
    settings: Settings, card: ModelCard, *, calibrated: CalibratedRules | None, live: bool = False
) -> TrackingRules:
    """The rules of a source with these settings, for the encoder of this card.

    Args:
        calibrated: the calibration of the database; see `open_rules`.
        live: the source has the limits of live sources.

    Raises:
        ModelError: the cohort is missing, damaged or another encoder's.
        ConfigError: there is no threshold.
    """
    tracking, recognition, encoder = settings.tracking, settings.recognition, settings.encoder
    thresholds, _ = open_rules(card, recognition, calibrated)
    most = settings.limits
    return TrackingRules(
        min_iou=tracking.iou,
        absence_seconds=tracking.absence_timeout,
        embedding=EmbeddingPolicy(policy=encoder.looks, max_looks=encoder.max_looks),
        hysteresis=HysteresisRules(
            thresholds=thresholds,
            confirm=tracking.confirm,
            release=recognition.release,
            withhold_flat=recognition.withhold_flat,
        ),
        emission=EmissionRules(
            min_faces=tracking.min_faces, cooldown=tracking.cooldown, stranger=thresholds.stranger
        ),
        limits=SourceLimits(most.faces, most.tracks, most.embeddings) if live else None,
    )
