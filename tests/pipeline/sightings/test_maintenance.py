"""Checks and backups of the database with its pictures."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import OutputError, UsageError
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.maintenance import DATABASE, back_up, check_database, restore
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import left


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "house.db"
    path.parent.mkdir()
    with Sightings(path, create="if_missing") as store, SightingWriter(store) as writer:
        for shade in (10, 20, 30):
            writer.event(left(shade=shade), pace="waits")
    return path


def test_what_is_not_as_it_was_written_is_found(path: Path) -> None:
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


def test_a_backup_is_the_same_elsewhere(path: Path, tmp_path: Path) -> None:
    target, there = tmp_path / "b.tar", tmp_path / "there" / "other.db"
    there.parent.mkdir()
    with Sightings(path) as sightings:
        before = [one.to_dict() for one in sightings.page().sightings]
        assert back_up(sightings, target) == 6
        with pytest.raises(OutputError, match="exists"):
            back_up(sightings, target)
    assert target.stat().st_mode & 0o777 == 0o600
    shutil.rmtree(path.parent)
    assert restore(target, there) == 6
    assert there.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="exists"):
        restore(target, there)
    with Sightings(there) as sightings:
        assert check_database(sightings) == []
        after = [one.to_dict() for one in sightings.page().sightings]
    for one in before + after:
        one.pop("picture")
    assert before == after
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.tar", "there"]


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
    with pytest.raises(UsageError, match="no backup"):
        restore(tmp_path / "b.tar", tmp_path / "x.db")
