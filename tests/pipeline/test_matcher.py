"""Settings become rules, each source its own."""

from __future__ import annotations

from facestream.engines.cards import load_card
from facestream.pipeline.config import Settings
from facestream.pipeline.matcher import open_matcher, rules_of
from facestream.pipeline.vision.encoder import DEFAULT_MODEL


def test_rules_say_what_the_settings_say() -> None:
    card = load_card(DEFAULT_MODEL)
    settings = Settings().with_values(
        {
            "tracking.absence_timeout": 3.0,
            "tracking.confirm": 4,
            "tracking.min_faces": 5,
            "tracking.cooldown": 60.0,
            "encoder.max_looks": 7,
            "recognition.threshold": 0.7,
            "recognition.release": 0.2,
        }
    )
    rules = rules_of(settings, card)
    assert (rules.absence_seconds, rules.min_iou, rules.looks.max_looks) == (3.0, 0.3, 7)
    assert (rules.naming.confirm, rules.naming.release) == (4, 0.2)
    assert (rules.telling.min_faces, rules.telling.cooldown) == (5, 60.0)
    assert rules.naming.thresholds is not None
    assert rules.naming.thresholds.similarity == 0.7


def test_the_thresholds_are_the_cohorts_or_the_encoders() -> None:
    card = load_card(DEFAULT_MODEL)
    plain = Settings().with_values({"recognition.normalise": "none"})
    with_cohort = rules_of(Settings(), card).naming.thresholds
    without = rules_of(plain, card).naming.thresholds
    assert with_cohort is not None
    assert without is not None
    assert with_cohort.similarity != without.similarity
    matcher = open_matcher(None, card, plain.recognition)
    assert matcher.threshold() == without.similarity
    assert matcher.threshold(with_cohort) == with_cohort.similarity
