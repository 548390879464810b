"""``run --db``, ``who``, ``search`` and ``why``."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.cli.who import moment
from facestream.pipeline.core.errors import UsageError
from facestream.pipeline.core.types import Image
from facestream.pipeline.storage.database import REVISIONS

from tests.pipeline.cli.conftest import Run, mistake


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Path:
    path = tmp_path_factory.mktemp("photo") / "collins.png"
    cv2.imwrite(str(path), portrait)
    return path


@pytest.fixture
def db(tmp_path: Path, clip: Path, photo: Path, run: Run) -> Path:
    """She was seen before anybody was enrolled, and again afterwards; the first sighting got her
    name by her enrolment, which was undone."""
    path = tmp_path / "house.db"
    assert run("run", clip, "--db", path)[0] == 0
    assert "Named 1 past sighting" in run("gallery", "add", "Eileen", photo, "--db", path)[1]
    assert run("undo", "--db", path)[0] == 0
    assert run("run", clip, "--db", path)[0] == 0
    return path


def test_who_search_and_why(db: Path, photo: Path, pictures: Path, run: Run) -> None:
    status, out, error = run("who", "--db", db, "--json")
    assert (status, error) == (0, "")
    named, unnamed = json.loads(out)["sightings"]
    assert (named["name"], named["verdict"], named["reason"]) == ("Eileen", "known", None)
    assert (unnamed["name"], unnamed["person_id"]) == ("unknown", None)
    assert unnamed["reason"] == "no_gallery"
    for one in (named, unnamed):
        assert one["state"] == "closed"
        assert cv2.imread(one["picture"]) is not None
    status, out, _ = run("who", "--db", db, "--name", "eileen", "--json")
    assert [one["id"] for one in json.loads(out)["sightings"]] == [named["id"]]
    assert "Eileen" in run("who", "--db", db)[1]
    assert "no sighting matches" in "".join(run("who", "--db", db, "--until", "2000-01-01")[1:])

    page = db.with_name("page.html")
    status, out, _ = run("search", photo, "--db", db, "--json", "--html", page)
    found = json.loads(out)
    assert {one["id"] for one in found["sightings"]} == {named["id"], unnamed["id"]}
    assert found["searched"] == 2
    assert found["false_alarms"] == 0.02
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert "http" not in text
    assert (
        json.loads(run("search", photo, "--db", db, "--until", "2000-01-01", "--json")[1])[
            "sightings"
        ]
        == []
    )
    assert "shows no face" in mistake(run("search", pictures / "c_none.png", "--db", db))

    status, out, _ = run("why", named["id"][:10], "--db", db, "--json")
    found = json.loads(out)
    assert found["sighting"]["id"] == named["id"]
    assert [one["name"] for one in found["candidates"]] == ["Eileen"]
    assert found["candidates"][0]["similarity"] > found["threshold"]
    assert "Nobody was enrolled" in run("why", unnamed["id"], "--db", db)[1]
    assert "facestream who" in mistake(run("why", "nothing", "--db", db))


def test_nothing_is_stored_without_a_database(clip: Path, tmp_path: Path, run: Run) -> None:
    assert run("run", clip)[0] == 0
    assert "there is no gallery" in mistake(run("who", "--db", tmp_path / "x.db"))
    assert not (tmp_path / "data-home").exists()


def test_a_gallery_beside_the_database_is_refused(clip: Path, tmp_path: Path, run: Run) -> None:
    said = mistake(run("run", clip, "--db", tmp_path / "a.db", "--gallery", tmp_path / "b.db"))
    assert "the database holds the people too" in said
    assert not (tmp_path / "a.db").exists()


def test_times() -> None:
    now = datetime.fromisoformat("2026-11-30T12:00:00").astimezone()
    for text, expected in (
        ("2h", now - timedelta(hours=2)),
        ("90min ago", now - timedelta(minutes=90)),
        ("1.5d", now - timedelta(hours=36)),
        ("2w", now - timedelta(weeks=2)),
        ("now", now),
        ("2026-11-30T12:00", now),
        ("2026-11-30 12:00:00+00:00", datetime.fromisoformat("2026-11-30T12:00:00+00:00")),
        ("yesterday", datetime.fromisoformat("2026-11-29T00:00:00").astimezone()),
        ("Today", datetime.fromisoformat("2026-11-30T00:00:00").astimezone()),
    ):
        assert moment("--since", text, now=now) == expected
    assert moment("--since", None) is None
    for wrong in ("", "soon", "12", "2026-13-01", "h"):
        with pytest.raises(UsageError, match="--since"):
            moment("--since", wrong)


def test_db(db: Path, tmp_path: Path, run: Run) -> None:
    assert json.loads(run("db", "check", "--db", db, "--json")[1]) == {"findings": []}
    backup, copy = tmp_path / "b.tar", tmp_path / "other" / "copy.db"
    copy.parent.mkdir()
    assert "4 pictures" in run("db", "backup", backup, "--db", db)[1]
    assert "4 pictures" in run("db", "restore", backup, "--db", copy)[1]
    assert "no backup" in mistake(run("db", "restore", copy, "--db", tmp_path / "x.db"))
    assert REVISIONS[-1] in run("db", "upgrade", "--db", copy)[1]
    next((copy.parent / "media").rglob("*.jpg")).unlink()
    status, out, _ = run("db", "check", "--db", copy)
    assert status == 3
    assert "picture missing" in out


def test_events_of_an_earlier_run_are_imported(
    clip: Path, photo: Path, tmp_path: Path, run: Run
) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text("[events]\nembeddings = true\n")
    gallery, db = tmp_path / "people.db", tmp_path / "house.db"
    run("gallery", "add", "Eileen", photo, "--gallery", gallery)
    assert run("run", clip, "-g", gallery, "--out", tmp_path / "seen", "--config", settings)[0] == 0
    events = tmp_path / "seen" / "events.jsonl"
    status, out, error = run("db", "import", events, "--db", db)
    assert (status, "Imported 1 sighting" in out) == (0, True)
    assert "nobody here is called 'Eileen'" in error
    with events.open("a") as file:
        file.write("no event\n")
    assert run("db", "import", events, "--db", db)[0] == 3  # the same sighting again
    (one,) = json.loads(run("who", "--db", db, "--json")[1])["sightings"]
    assert (one["name"], one["verdict"]) == ("unknown", "unsure")
    assert cv2.imread(one["picture"]) is not None
    found = json.loads(run("search", photo, "--db", db, "--json")[1])["sightings"]
    assert [each["id"] for each in found] == [one["id"]]
    (tmp_path / "text").write_text("text")
    assert "no events" in mistake(run("db", "import", tmp_path / "text", "--db", db))
    assert "cannot read" in mistake(run("db", "import", tmp_path / "missing", "--db", db))


def test_a_face_of_a_sighting_is_learned(db: Path, run: Run) -> None:
    sightings = json.loads(run("who", "--db", db, "--json")[1])["sightings"]
    uid = sightings[0]["id"]
    status, out, error = run("gallery", "add", "Eileen", "--from-sighting", uid, "--db", db)
    if status == 0:
        assert out == "Added 1 photo of 'Eileen'.\n"
    else:  # so like the photo that it shows nothing new
        assert (status, "redundant" in error) == (2, True)
        status, out, _ = run("gallery", "add", "Guest", "--from-sighting", uid, "--db", db)
        assert status == 2
        run("gallery", "remove", "Eileen", "--yes", "--db", db)
        assert run("gallery", "add", "Eileen", "--from-sighting", uid, "--db", db)[0] == 0
    shown = run("gallery", "show", "Eileen", "--db", db)[1]
    assert f"learned from sighting {uid[:8]}" in shown
    photos = json.loads(run("gallery", "show", "Eileen", "--json", "--db", db)[1])["photos"]
    assert [one["learned_from"]["sighting"] for one in photos if one["learned_from"]] == [uid]
    if len(photos) > 1:
        done = run("gallery", "remove", "Eileen", "--learned", "--yes", "--db", db)
        assert done[1] == "Removed 1 photo of 'Eileen'.\n"
        assert "no photo that was learned" in mistake(
            run("gallery", "remove", "Eileen", "--learned", "--yes", "--db", db)
        )
    assert "no sighting begins" in mistake(
        run("gallery", "add", "Eileen", "--from-sighting", "nope", "--db", db)
    )
