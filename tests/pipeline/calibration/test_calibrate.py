"""Calibration of a gallery of made-up people: found, stored, used by runs, removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from facestream.engines.cards import ModelCard
from facestream.pipeline.analysis import AnalyzedFace, FaceAnalyzer
from facestream.pipeline.calibration import (
    CalibrationResult,
    apply_calibration,
    calibrate,
    reset_calibration,
)
from facestream.pipeline.calibration.fit import ceilings, false_matches, fit_threshold
from facestream.pipeline.calibration.page import calibration_page
from facestream.pipeline.calibration.searches import NOBODY, Searches
from facestream.pipeline.core.config import RecognitionSettings, Settings
from facestream.pipeline.core.errors import GalleryCorrupt, UsageError
from facestream.pipeline.core.types import Identity
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.calibrated import read_calibration
from facestream.pipeline.identity.search import MatchQuery, open_matcher
from facestream.pipeline.redaction.naming import _rules as redaction_rules
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.unknowns import Unknowns
from facestream.pipeline.stages.rules import rules_of
from facestream.pipeline.storage.schema import MetaRow

from tests.pipeline.calibration.conftest import PEOPLE, TWINS
from tests.pixels import PixelReader

SETTINGS = RecognitionSettings()


@pytest.fixture(scope="module")
def found(people_db: Path, card: ModelCard) -> CalibrationResult:
    reader = PixelReader(card.id, 128)
    with Gallery(people_db, reader=reader) as gallery, Sightings(people_db) as sightings:
        return calibrate(gallery, sightings, card, SETTINGS)


@pytest.fixture
def gallery(people_db: Path, card: ModelCard, tmp_path: Path) -> Iterator[Gallery]:
    path = tmp_path / "copy.db"
    shutil.copyfile(people_db, path)
    with Gallery(path, reader=PixelReader(card.id, 128)) as opened:
        yield opened


@pytest.fixture
def sightings(gallery: Gallery) -> Iterator[Sightings]:
    with Sightings(gallery.path) as opened:
        yield opened


def test_the_threshold_lets_as_many_strangers_through_as_asked(found: CalibrationResult) -> None:
    report = found.report
    assert (report["people"], report["photos"]) == (PEOPLE, 2 * PEOPLE)
    threshold, measured = report["threshold"], report["measured"]
    assert threshold["low"] <= threshold["value"] <= threshold["high"]
    assert measured["false_alarms"]["low"] <= 0.02 <= measured["false_alarms"]["high"]
    assert measured["false_alarms_of_cohort"]["low"] <= 0.02
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("shift", [0.0, 0.04])
def test_a_gallery_of_people_who_are_more_alike(shift: float) -> None:
    """Strangers are as similar as the gallery's people are to each other, not as the cohort."""
    rng = np.random.default_rng(3)
    strangers = searches(rng.normal(0.1, 0.05, 6000), NOBODY - np.arange(6000))
    others = searches(rng.normal(0.1 + shift, 0.05, 400), np.repeat(np.arange(200), 2))
    found = fit_threshold(strangers, others, 0.02)
    truth = 0.1 + shift + 2.0537 * 0.05
    assert found.threshold.low - 0.005 <= truth <= found.threshold.high + 0.005
    assert found.false_alarms.low <= 0.02 <= found.false_alarms.high
    table = false_matches(found.tail, 50, basis="made up")
    for rate in (0.05, 0.02, 0.001):
        each = -np.expm1(np.log1p(-rate) / 50)
        assert table.similarity(each) == pytest.approx(found.tail.score(rate), abs=2e-3)


def searches(best: Any, searched: Any) -> Searches:
    """Searches with these answers, all wrong."""
    count = len(best)
    return Searches(
        np.asarray(searched, np.int64),
        np.asarray(best, np.float32),
        np.full(count, 10**6),
        np.full(count, -np.inf, np.float32),
    )


def test_the_probability_holds_for_people_who_were_not_in_its_fit(found: CalibrationResult) -> None:
    assert found.report["probability"]["calibration_error"] <= 0.05


def test_twins_need_more_than_the_other_one_reached(found: CalibrationResult) -> None:
    twins = {one["name"]: one for one in found.report["lookalikes"] if one["name"] in TWINS}
    assert {one["resembles"] for one in twins.values()} == set(TWINS)
    assert found.stored is not None
    assert found.searches is not None
    others = found.searches.others
    for person, ceiling in found.stored.ceilings.items():
        assert ceiling > others.best[others.person == person].max() - 1e-3
    assert len(found.stored.ceilings) < PEOPLE / 2


def test_a_rejected_sighting_raises_what_a_name_needs(found: CalibrationResult) -> None:
    assert found.searches is not None
    others = found.searches.others.rows(slice(0, 0))
    assert ceilings(others, [(7, 0.6), (7, 0.5), (8, 0.2)], 0.4) == {7: 0.6001}


def test_runs_use_what_is_stored_until_it_is_removed(
    gallery: Gallery, sightings: Sightings, card: ModelCard, found: CalibrationResult
) -> None:
    before = open_matcher(gallery, card, SETTINGS).threshold()
    apply_calibration(sightings, found)
    matcher = open_matcher(gallery, card, SETTINGS)
    wanted = found.report["threshold"]["value"]
    assert matcher.threshold() == pytest.approx(wanted, abs=1e-3)
    assert abs(before - wanted) > 5e-3
    rules = rules_of(Settings(), card, calibrated=gallery.calibrated())
    assert matcher.threshold(rules.hysteresis.thresholds) == matcher.threshold()
    # One who resembles a twin as the other twin does gets no name.
    twin = gallery.person(TWINS[0])
    assert rules.hysteresis.thresholds is not None
    assert rules.hysteresis.thresholds.needed(twin.id) > wanted + 0.1
    set_by_hand = open_matcher(gallery, card, RecognitionSettings(threshold=0.5))
    assert set_by_hand.threshold() == 0.5
    assert reset_calibration(sightings)
    assert open_matcher(gallery, card, SETTINGS).threshold() == before
    assert not reset_calibration(sightings)


def test_what_decides_beside_a_run_uses_it_too(
    gallery: Gallery, sightings: Sightings, card: ModelCard, found: CalibrationResult
) -> None:
    """Unknown people, comparisons and redaction had the model's thresholds."""
    face = AnalyzedFace(
        *(np.zeros(4, np.float32), 1.0, np.zeros((5, 2), np.float32)),
        *(np.eye(1, 128, dtype=np.float32)[0], 0.5, Identity(None, None, 0.0, 0.0, "no_gallery")),
    )
    open_before = Unknowns(sightings)
    apply_calibration(sightings, found)
    open_before.update()
    wanted = open_matcher(gallery, card, SETTINGS).thresholds.similarity
    with FaceAnalyzer(gallery=gallery) as analyzer:
        similar = analyzer.similarity(face, face)[1].similarity
        shown = redaction_rules(analyzer, ()).thresholds.similarity
    with FaceAnalyzer() as analyzer:
        usual = analyzer.similarity(face, face)[1]
    assert abs(usual.similarity - similar) > 5e-3
    clusters = [open_before._rule, Unknowns(sightings)._rule]
    assert [rule.thresholds.similarity for rule in clusters] == [wanted, wanted]
    assert shown == wanted


def test_a_face_below_the_ceiling_gets_no_name(
    gallery: Gallery, sightings: Sightings, card: ModelCard, found: CalibrationResult
) -> None:
    apply_calibration(sightings, found)
    twin = gallery.person(TWINS[0])
    photo = gallery.snapshot().templates.mu[[0]]
    for ceiling, name in ((0.5, TWINS[0]), (0.999, None)):
        assert found.stored is not None
        changed = found.stored.model_copy(update={"ceilings": {twin.id: ceiling}})
        apply_calibration(sightings, CalibrationResult(changed, (), {}))
        matcher = open_matcher(gallery, card, SETTINGS)
        noisy = photo + np.random.default_rng(0).normal(0, 0.03, photo.shape).astype(np.float32)
        query = MatchQuery(matcher.search(noisy)[0], 0.5, 100)
        (identity,) = matcher.decide([query])
        assert identity.name == name


def test_one_of_another_model_or_normalisation_is_left_out(
    gallery: Gallery,
    sightings: Sightings,
    card: ModelCard,
    found: CalibrationResult,
    caplog: pytest.LogCaptureFixture,
) -> None:
    apply_calibration(sightings, found)
    plain = RecognitionSettings(normalise="none")
    with caplog.at_level("WARNING"):
        matcher = open_matcher(gallery, card, plain)
    assert card.thresholds is not None
    assert matcher.threshold() >= card.thresholds.similarity
    assert "calibration of the database is not used" in caplog.text


def test_it_goes_with_people_who_are_merged_and_removed(
    gallery: Gallery, sightings: Sightings, found: CalibrationResult
) -> None:
    """A name needs as much as that of anybody taken in; of who is removed no name is left."""
    apply_calibration(sightings, found)
    one, other = TWINS
    ids = {name: gallery.person(name).id for name in TWINS}
    third = next(person for person in gallery.people() if person.name not in TWINS)
    before = gallery.calibrated()
    assert before is not None
    need = before.stored.ceilings
    gallery.merge(third.name, one)
    merged = gallery.calibrated()
    assert merged is not None
    assert merged.stored.ceilings[third.id] == need[ids[one]]
    gallery.remove(third.name)
    gallery.remove(other)
    with sightings.reading() as connection:
        text = connection.execute(
            sa.text("SELECT value FROM meta WHERE key = 'calibration'")
        ).scalar_one()
    assert not any(f'"{name}"' in text for name in (*TWINS, third.name))
    removed = gallery.calibrated()
    assert removed is not None
    assert not {*ids.values(), third.id} & set(removed.stored.ceilings)
    assert removed.stored.thresholds == before.stored.thresholds


def test_a_damaged_calibration_is_one_line(gallery: Gallery, sightings: Sightings) -> None:
    with sightings.writing() as connection:
        connection.execute(sa.insert(MetaRow).values(key="calibration", value="{}"))
    with pytest.raises(GalleryCorrupt, match="--reset"):
        gallery.calibrated()
    assert reset_calibration(sightings)
    assert gallery.calibrated() is None


def test_too_few_people_leave_the_threshold(
    gallery: Gallery, sightings: Sightings, card: ModelCard
) -> None:
    for person in gallery.people()[:-5]:
        gallery.remove(person.name)
    result = calibrate(gallery, sightings, card, SETTINGS)
    assert result.stored is None
    assert "has 5 people" in result.missing[0]
    with pytest.raises(UsageError, match="5 people"):
        apply_calibration(sightings, result)
    with sightings.reading() as connection:
        assert read_calibration(connection) is None


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan")])
def test_a_rate_that_is_none(
    gallery: Gallery, sightings: Sightings, card: ModelCard, rate: float
) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        calibrate(gallery, sightings, card, SETTINGS, false_alarms=rate)


def test_the_page_loads_nothing(found: CalibrationResult) -> None:
    assert found.searches is not None
    report: dict[str, Any] = {**found.report, "lookalikes": [
        {"name": "<script>x</script>", "resembles": None, "needs": 0.5, "person_id": 1}
    ]}  # fmt: skip
    page = calibration_page(found.searches, report, ["a <b>"])
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "a &lt;b&gt;" in page
    assert "nan" not in page
    assert page.count("http") == page.count('xmlns="http://www.w3.org/2000/svg"')
