"""Checks and backups of the database with its pictures."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import OutputError, UsageError
from facestream.pipeline.core.location import DatabaseUrl, Location
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.backup import DATABASE, back_up, restore
from facestream.pipeline.sightings.maintenance import check_database
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import left


@pytest.fixture
def path(database: Path | str) -> Path | str:
    if isinstance(database, Path):
        database = database.parent / "here" / "house.db"
        database.parent.mkdir()
    with Sightings(database, create="if_missing") as store, SightingWriter(store) as writer:
        for shade in (10, 20, 30):
            writer.event(left(shade=shade), pace="waits")
    return database


def test_what_is_not_as_it_was_written_is_found(path: Path | str) -> None:
    with Sightings(path) as sightings:
        assert check_database(sightings) == []
        one, two, _ = sightings.page().sightings
        Path(one.pictures["face"]).unlink()
        Path(two.pictures["frame"]).write_bytes(b"other")
        (sightings.media.path / "2020").mkdir()
        (sightings.media.path / "2020" / "x.jpg").write_bytes(b"")
        found = {(each.problem, each.sighting) for each in check_database(sightings)}
    assert found == {
        ("picture_missing", one.id),
        ("picture_changed", two.id),
        ("picture_unknown", None),
    }


@pytest.mark.parametrize("into", ["sqlite", "postgresql"])
def test_a_backup_is_the_same_elsewhere(
    path: Path | str, into: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    target = tmp_path / "b.tar"
    there: Location = tmp_path / "there" / "other.db"
    if into == "postgresql":
        there = DatabaseUrl(request.getfixturevalue("postgresql").new_database())
    media = tmp_path / "there" / "media"
    (tmp_path / "there").mkdir()
    with Sightings(path) as sightings:
        before = [one.to_dict() for one in sightings.page().sightings]
        assert back_up(sightings, target) == 6
        with pytest.raises(OutputError, match="exists"):
            back_up(sightings, target)
        shutil.rmtree(sightings.media.path)
    assert target.stat().st_mode & 0o777 == 0o600
    assert restore(target, there, media=media) == 6
    if isinstance(there, Path):
        assert there.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match=r"exists|not empty"):
        restore(target, there, media=media)
    with Sightings(there, media=media) as sightings:
        assert check_database(sightings) == []
        after = [one.to_dict() for one in sightings.page().sightings]
    for one in before + after:
        one.pop("picture")
    assert before == after
    kept = {one.name for one in tmp_path.iterdir()}
    assert kept <= {"b.tar", "there", "here", "data"}
    with Sightings(there, media=media) as store, SightingWriter(store) as writer:
        writer.event(left(), pace="waits")  # ids go on
        writer.close()
        assert store.count() == 4


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "/tmp/evil.jpg", "media/../../evil.jpg", "other.txt", DATABASE]
)
def test_what_is_no_backup_is_refused(name: str, tmp_path: Path) -> None:
    source = tmp_path / "b.tar"
    with tarfile.open(source, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises((UsageError, OutputError)):
        restore(source, folder / "x.db")
    assert list(folder.iterdir()) == []


def test_a_link_in_a_backup_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "b.tar"
    with tarfile.open(source, "w") as tar:
        member = tarfile.TarInfo("media/x.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UsageError, match="no backup"):
        restore(source, tmp_path / "x.db")


def test_a_text_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("text")
    with pytest.raises(UsageError, match="it is no tar file"):
        restore(tmp_path / "b.tar", tmp_path / "x.db")
    with pytest.raises(OutputError, match="no folder"):
        restore(tmp_path / "b.tar", tmp_path / "none" / "x.db")
