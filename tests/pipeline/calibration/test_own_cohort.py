"""A cohort of the strangers that an installation saw."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from facestream.engines.cards import ModelCard
from facestream.pipeline.calibration import apply_calibration, calibrate
from facestream.pipeline.calibration.evidence import camera_rates, judged_names
from facestream.pipeline.core.config import RecognitionSettings
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.core.events import FusedTemplate
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.identity.calibrated import LEAST_STRANGERS, own_cohort
from facestream.pipeline.identity.search import open_rules
from facestream.pipeline.recognition.cohort import leave_one_out, load_cohort
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.corrections import Corrections
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.schema import CohortMemberRow, SightingRow

from tests.pipeline.calibration.conftest import photo_of
from tests.pipeline.sightings.stored import left
from tests.pixels import PixelReader

SETTINGS = RecognitionSettings()
SEEN_TWICE = 5


@pytest.fixture
def house(people_db: Path, card: ModelCard, tmp_path: Path) -> Iterator[tuple[Gallery, Sightings]]:
    """People, and a few more strangers than a cohort needs; some of them came twice."""
    path = tmp_path / "house.db"
    shutil.copyfile(people_db, path)
    vectors = load_cohort(card.id).vectors
    rng = np.random.default_rng(5)
    chosen = vectors[np.random.default_rng(0).permutation(len(vectors))[-LEAST_STRANGERS - 2 :]]
    faces = [*chosen, *(photo_of(one, rng, noise=0.02) for one in chosen[:SEEN_TWICE])]
    with Gallery(path, reader=PixelReader(card.id, 128)) as gallery, Sightings(path) as sightings:
        with SightingWriter(sightings) as writer:
            for number, mu in enumerate(faces):
                event = left(start=3600.0 * number, verdict="stranger")
                event = event.model_copy(update={"model": card.id})
                template = FusedTemplate(mu, np.full(128, -0.7, np.float32), 0.7)
                writer.event(event.with_template(template), pace="waits")
        yield gallery, sightings


def test_it_is_used_and_forgotten_with_its_sightings(
    house: tuple[Gallery, Sightings], card: ModelCard, caplog: pytest.LogCaptureFixture
) -> None:
    gallery, sightings = house
    found = calibrate(gallery, sightings, card, SETTINGS, with_own_cohort=True)
    count = found.report["own_cohort"]
    # One of each person, and strangers who look alike count once.
    assert LEAST_STRANGERS <= count <= LEAST_STRANGERS + 2
    (camera,) = found.report["cameras"]
    assert camera["unnamed_a_day"] == pytest.approx(24, abs=0.5)
    alarms = camera["false_alarms_a_day"]
    assert alarms["value"] == pytest.approx(
        camera["unnamed_a_day"] * found.report["measured"]["false_alarms"]["value"], abs=0.01
    )
    apply_calibration(sightings, found)
    _, cohort = open_rules(card, SETTINGS, gallery.calibrated())
    assert cohort is not None
    assert len(cohort.vectors) == count
    assert cohort.typical == pytest.approx(float(leave_one_out(cohort).mean()))
    with sightings.writing() as connection:
        members = connection.scalars(sa.select(CohortMemberRow.sighting_id)).all()
        gone = list(members)[: count - LEAST_STRANGERS + 1]
        connection.execute(sa.delete(SightingRow).where(SightingRow.id.in_(gone)))
    with caplog.at_level("WARNING"):
        _, cohort = open_rules(card, SETTINGS, gallery.calibrated())
    assert cohort is not None
    assert len(cohort.vectors) > count
    assert f"{LEAST_STRANGERS - 1} of its own strangers are left" in caplog.text


def test_named_and_unclear_sightings_are_no_strangers(
    house: tuple[Gallery, Sightings], card: ModelCard
) -> None:
    gallery, sightings = house
    person = gallery.people()[0].id
    with sightings.writing() as connection:
        rows = connection.scalars(sa.select(SightingRow.id).order_by(SightingRow.id)).all()
        for some, values in (
            (rows[:40], {"person_id": person, "verdict": "known"}),
            (rows[40:80], {"verdict": "unsure"}),
            (rows[80:120], {"clearest": 2.0}),
        ):
            where = SightingRow.id.in_(some)
            connection.execute(sa.update(SightingRow).where(where).values(values))
    with sightings.reading() as connection:
        (rate,) = camera_rates(connection, 1.2)
    assert rate.sightings == len(rows) - 40
    assert rate.unnamed == len(rows) - 80
    with pytest.raises(UsageError, match=f"needs {LEAST_STRANGERS}"):
        calibrate(gallery, sightings, card, SETTINGS, with_own_cohort=True)


def test_it_needs_normalisation(house: tuple[Gallery, Sightings], card: ModelCard) -> None:
    plain = RecognitionSettings(normalise="none")
    with pytest.raises(UsageError, match="needs recognition"):
        calibrate(*house, card, plain, with_own_cohort=True)


def test_usual_faces_keep_their_similarities(card: ModelCard) -> None:
    shipped = load_cohort(card.id)
    own = own_cohort(shipped.vectors[:1000] * 3, shipped)
    assert own.card.sha256 != shipped.card.sha256
    means = leave_one_out(own)
    assert float(means.mean()) == pytest.approx(own.typical)


def test_names_that_humans_judged_are_read(house: tuple[Gallery, Sightings]) -> None:
    gallery, sightings = house
    assert judged_names(sightings) == []
    person, other = gallery.people()[:2]
    yes, no, *_ = sightings.page().sightings
    corrections = Corrections(sightings, who="ann")
    corrections.is_person(yes.id, person.name)
    corrections.is_not(no.id, other.name)
    found = {(one.person_id, one.right): one for one in judged_names(sightings)}
    assert set(found) == {(person.id, True), (other.id, False)}
    assert all(one.sigma == pytest.approx(0.7, abs=0.01) for one in found.values())
    assert all(-1 <= one.similarity < 1 for one in found.values())
    corrections.undo()
    assert [(one.person_id, one.right) for one in judged_names(sightings)] == [(person.id, True)]
