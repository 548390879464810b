"""Forgetting, retention and encryption in a file and on a server: the same happens."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from facestream.pipeline.core.config.groups import RetentionSettings
from facestream.pipeline.core.user_key import ENVIRONMENT
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.corrections import Corrections
from facestream.pipeline.sightings.encryption import Encryption
from facestream.pipeline.sightings.forget import ForgetRequest, Forgetting
from facestream.pipeline.sightings.maintenance import check_database
from facestream.pipeline.sightings.receipts import read_receipts
from facestream.pipeline.sightings.retention import Retention
from facestream.pipeline.sightings.search import SightingIndex

from tests.pipeline.sightings.people import MODEL, RULE, face, furnish
from tests.pixels import PixelReader

DAY = 86400.0


@pytest.fixture
def place(database: Path | str, tmp_path: Path) -> Path | str:
    furnish(database, tmp_path)
    return database


def hits(sightings: Sightings, person: int) -> int:
    return len(SightingIndex(sightings, MODEL, RULE).search(face(person, seed=9), sigma=0.5).hits)


def test_a_person_with_decisions_is_forgotten_and_nothing_brings_them_back(
    place: Path | str,
) -> None:
    with Sightings(place) as sightings:
        newest = sightings.page().sightings[0]
        stranger = next(one for one in sightings.page().sightings if one.verdict == "stranger")
        corrections = Corrections(sightings, who="eve")
        corrections.is_not(stranger.id, "Ada")
        corrections.is_person(newest.id, "Ada")
        forgetting = Forgetting(sightings, MODEL, RULE)
        plan = forgetting.plan(ForgetRequest(person="Ada"))
        receipt = forgetting.carry_out(plan)
        assert receipt.proof is not None
        assert (receipt.proof["rows"], receipt.proof["search"]) == ("passed", "passed")
        assert receipt.rows["rejections"] == 2  # the newest was not Bob either
        assert hits(sightings, 1) == 0
        for _ in range(2):
            corrections.undo()  # what was said of those who are gone
        assert "Ada" not in str([one.to_dict() for one in corrections.operations()])
        assert hits(sightings, 1) == 0
        assert {one.name for one in sightings.page().sightings} <= {"Bob", "unknown"}
        with sightings.reading() as connection:
            assert "Ada" not in str([one.to_dict() for one in read_receipts(connection)])
        assert check_database(sightings) == []
    with Gallery(place, reader=PixelReader(MODEL)) as gallery:
        assert [one.name for one in gallery.people()] == ["Bob"]


def test_what_is_too_old_goes(place: Path | str) -> None:
    with Sightings(place) as sightings:
        limits = RetentionSettings(stranger=7 * DAY, unsure=30 * DAY, pictures=5 * DAY)
        receipt = Retention(sightings, limits).enforce()
        assert receipt is not None
        assert (receipt.rows["sightings"], receipt.rows["media"]) == (2, 6)
        assert Retention(sightings, limits).enforce() is None
        assert hits(sightings, 1) == 2
        assert check_database(sightings) == []


def test_encryption_changes_nothing_that_is_seen(
    place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv(ENVIRONMENT, base64.b64encode(bytes(range(32))).decode())
    with Sightings(place) as sightings:
        uid = sightings.page().sightings[0].id
        picture = sightings.picture(uid, "face")
        for change in ("enable", "rotate", "disable"):
            getattr(Encryption(sightings), change)()
            assert sightings.picture(uid, "face") == picture
            assert (hits(sightings, 1), hits(sightings, 3)) == (3, 1)
            assert check_database(sightings) == []
            with Gallery(place, reader=PixelReader(MODEL)) as gallery:
                assert gallery.search(face(1, seed=9)[None], 1).names == (("Ada",),)
                assert gallery.crop(gallery.photos("Ada")[0]).shape == (112, 112, 3)
