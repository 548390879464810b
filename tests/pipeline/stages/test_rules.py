"""Settings become rules, each source its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from facestream.engines.cards import load_card
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.types import Floats, Matches
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.gallery import GallerySearch
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.search import Matcher, MatchQuery, open_matcher
from facestream.pipeline.recognition.encoder import DEFAULT_MODEL
from facestream.pipeline.stages.rules import rules_of

from tests.pixels import PixelReader, paint


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
            "recognition.withhold_flat": True,
        }
    )
    rules = rules_of(settings, card, calibrated=None)
    assert (rules.absence_seconds, rules.min_iou, rules.embedding.max_looks) == (3.0, 0.3, 7)
    assert (rules.hysteresis.confirm, rules.hysteresis.release) == (4, 0.2)
    assert rules.hysteresis.withhold_flat
    assert (rules.emission.min_faces, rules.emission.cooldown) == (5, 60.0)
    assert rules.hysteresis.thresholds is not None
    assert rules.hysteresis.thresholds.similarity == 0.7


def test_the_thresholds_are_the_cohorts_or_the_encoders() -> None:
    card = load_card(DEFAULT_MODEL)
    plain = Settings().with_values({"recognition.normalise": "none"})
    with_cohort = rules_of(Settings(), card, calibrated=None).hysteresis.thresholds
    without = rules_of(plain, card, calibrated=None).hysteresis.thresholds
    assert with_cohort is not None
    assert without is not None
    assert with_cohort.similarity != without.similarity
    matcher = open_matcher(None, card, plain.recognition)
    assert matcher.threshold() == without.similarity
    assert matcher.threshold(with_cohort) == with_cohort.similarity


class Crowd:
    """A gallery of so many photos in which every face is 0.42 similar to Ada."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        rows = len(mu)
        return Matches(
            np.full((rows, 1), 0.42, np.float32), np.ones((rows, 1), np.int64), (("Ada",),) * rows
        )

    def templates(self) -> int:
        return self.photos

    def refresh(self) -> bool:
        return False


def test_a_name_is_harder_to_get_in_a_larger_gallery() -> None:
    card = load_card(DEFAULT_MODEL)
    crowd = Crowd(3)
    naming = rules_of(Settings(), card, calibrated=None).hysteresis
    assert naming.thresholds is not None
    matcher = Matcher(crowd, naming.thresholds)
    (found,) = matcher.search(np.ones((1, 4), np.float32))
    look = [MatchQuery(found, 0.7, 80.0)]
    assert matcher.threshold() == naming.thresholds.similarity
    assert [who.name for who in matcher.decide(look)] == ["Ada"]
    crowd.photos = 5000
    raised = matcher.threshold(naming.thresholds)
    assert raised > 0.42
    assert [who.reason for who in matcher.decide(look)] == ["below_threshold"]
    loose = Settings().with_values({"recognition.false_alarms": 0.9})
    assert matcher.threshold(rules_of(loose, card, calibrated=None).hysteresis.thresholds) < raised
    fixed = Settings().with_values({"recognition.threshold": 0.4})
    thresholds = rules_of(fixed, card, calibrated=None).hysteresis.thresholds
    assert matcher.threshold(thresholds) == 0.4
    assert [who.name for who in matcher.decide(look, thresholds=thresholds)] == ["Ada"]


def test_the_threshold_follows_a_gallery_that_grows_in_mid_run(tmp_path: Path) -> None:
    path, reader = tmp_path / "people.db", PixelReader()
    kept = load_card("vae_cohort").thresholds
    assert kept is not None
    with Gallery(path, reader=reader) as mine, Gallery(path, reader=reader) as theirs:
        rule = Thresholds(0.1, false_alarms=0.02, false_matches=kept.false_matches)
        matcher = Matcher(GallerySearch(mine, reader.model_id), rule)
        assert matcher.threshold() == 0.1
        seen = []
        for person in range(1, 4):
            theirs.add(f"P{person}", paint(tmp_path / f"{person}.png", person=person))
            assert matcher.refresh()
            seen.append(matcher.threshold())
        assert seen == [rule.among(photos).similarity for photos in (1, 2, 3)]
        assert seen == sorted(set(seen))
