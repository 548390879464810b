"""What is removed is in none of the gallery's files, also for who held the journal open."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.storage.ownership import journal_of

from tests.pixels import PixelReader, paint

from .conftest import stored


class Uncertain(PixelReader):
    """Each face has a log-variance of its own."""

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        mu, _ = super().embed(crops)
        return mu, (mu[:, ::-1] / 3).astype(np.float32)


@pytest.fixture
def reader() -> PixelReader:
    return Uncertain()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "gallery"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def gallery(folder: Path, reader: PixelReader) -> Iterator[Gallery]:
    with Gallery(folder / "people.db", reader=reader) as opened:
        yield opened


def traces(gallery: Gallery, name: str) -> dict[str, bytes]:
    """The bytes by which a person can be found in files."""
    snapshot = stored(gallery)
    person = gallery.person(name)
    (row,) = np.flatnonzero(snapshot.templates.person_ids == person.id)
    (photo,) = gallery.photos(name)
    with sqlite3.connect(gallery.path) as connection:
        (crop,) = connection.execute("SELECT crop FROM photos WHERE id = ?", (photo.id,)).fetchone()
    connection.close()
    return {
        "name": name.encode(),
        "key": name.casefold().encode(),
        "path": photo.path.encode(),
        "sha256": photo.sha256.encode(),
        "mu": snapshot.templates.mu[row].tobytes()[:64],
        "logvar": snapshot.templates.logvar[row].tobytes()[:64],
        "crop": crop[60:124],
    }


def found_in(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    return [
        f"{file.name}: {what}"
        for file in folder.iterdir()
        for what, data in wanted.items()
        if data in file.read_bytes()
    ]


def fill(gallery: Gallery, photos: Path, count: int = 12) -> None:
    for number in range(count):
        photo = paint(photos / f"photo-of-{number:03d}.png", person=number + 1, shade=number)
        assert gallery.add(f"Person-{number:03d}-Zyx", photo)[0].accepted


Change = Callable[[Gallery, str], object]


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda gallery, name: gallery.remove(name), None),
        (lambda gallery, name: gallery.rename(name, "Somebody"), {"name", "key"}),
    ],
    ids=["remove", "rename"],
)
def test_nothing_is_left_in_the_files(
    gallery: Gallery, folder: Path, tmp_path: Path, change: Change, gone: set[str] | None
) -> None:
    fill(gallery, tmp_path)
    wanted = traces(gallery, "Person-005-Zyx")
    assert {line.split(": ")[1] for line in found_in(folder, wanted)} == set(wanted)
    gallery.add("Last", paint(tmp_path / "last.png", person=20))
    journal = journal_of(gallery.path)
    assert "people.db-journal: mu" in found_in(folder, wanted)
    with journal.open("rb") as held:  # as another process may
        change(gallery, "Person-005-Zyx")
        rest = held.read()
    wanted = {what: data for what, data in wanted.items() if gone is None or what in gone}
    assert [what for what, data in wanted.items() if data in rest] == []
    assert found_in(folder, wanted) == []


def test_a_photo_leaves_nothing_either(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    fill(gallery, tmp_path, 3)
    wanted = traces(gallery, "Person-001-Zyx")
    (first,) = gallery.photos("Person-001-Zyx")
    gallery.add("Person-001-Zyx", paint(tmp_path / "second.png", person=9))
    gallery.remove_photos("Person-001-Zyx", [first.id])
    del wanted["name"], wanted["key"]
    assert found_in(folder, wanted) == []


def test_a_closed_gallery_has_no_journal(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    fill(gallery, tmp_path, 2)
    journal = journal_of(gallery.path)
    assert journal.stat().st_mode & 0o777 == 0o600
    with journal.open("rb") as held:
        gallery.close()
        assert held.read() == b""
    assert [entry.name for entry in folder.iterdir()] == ["people.db"]


def test_a_writer_keeps_its_journal(gallery: Gallery, folder: Path, tmp_path: Path) -> None:
    """The journal of a change that another process makes at this moment is its safety."""
    fill(gallery, tmp_path, 2)
    other = sqlite3.connect(gallery.path, isolation_level=None, timeout=0)
    other.execute("PRAGMA journal_mode = PERSIST")
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE people SET name = 'x'")
    other.execute("PRAGMA cache_spill = ON")
    before = journal_of(gallery.path).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facestream.pipeline.storage.transactions.BUSY_SECONDS", 0.05)
        gallery.close()
    assert journal_of(gallery.path).read_bytes() == before
    other.execute("ROLLBACK")
    other.close()
    with Gallery(gallery.path, create="never") as again:
        assert len(again.people()) == 2
    assert not journal_of(gallery.path).exists()


def test_sqlite_leaves_no_copies_of_moved_rows(tmp_path: Path) -> None:
    """Rows move between pages as names come and change; none of the places keeps a copy."""
    draw = random.Random(0)
    with Gallery(tmp_path / "people.db", reader=PixelReader()) as gallery:
        names = [f"{draw.random():.12f}"[2:] for _ in range(600)]
        connection = sqlite3.connect(gallery.path, isolation_level=None)
        connection.executescript("PRAGMA secure_delete = ON; PRAGMA synchronous = OFF;")
        connection.execute("PRAGMA journal_mode = MEMORY")
        row = "INSERT INTO people (name, name_key, created_at) VALUES (?, ?, '2026-01-01')"
        for name in names:
            connection.execute(row, (f"N{name}", f"k{name}"))
        for name in draw.sample(names, 200):
            change = "UPDATE people SET name = ?, name_key = ? WHERE name_key = ?"
            connection.execute(change, (f"N{name}{'x' * 40}", f"k{name}{'y' * 40}", f"k{name}"))
        gone = draw.sample(names, 60)
        assert all(f"k{name}".encode() in gallery.path.read_bytes() for name in gone)
        for name in gone:
            connection.execute("DELETE FROM people WHERE name_key LIKE ?", (f"k{name}%",))
        connection.close()
        content = gallery.path.read_bytes()
        assert [name for name in gone if name.encode() in content] == []


def test_the_journal_belongs_to_the_file_not_to_a_link(tmp_path: Path, reader: PixelReader) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    Gallery(tmp_path / "real" / "people.db").close()
    link.symlink_to(tmp_path / "real" / "people.db")
    with Gallery(link, reader=reader) as gallery:
        gallery.add("Ann", paint(tmp_path / "1.png", person=1))
        assert journal_of(link).exists()
        gallery.remove("Ann")
        assert os.listdir(tmp_path / "real") == ["people.db"]  # noqa: PTH208


def test_the_journal_of_a_crash_is_overwritten(tmp_path: Path, reader: PixelReader) -> None:
    path = tmp_path / "people.db"
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Ada", paint(tmp_path / "ada.png"))
    left = tmp_path / "left"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA cache_size = 1")
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE people SET name = 'Zoe'")
    other.execute("CREATE TABLE more (x)")
    for _ in range(300):
        other.execute("INSERT INTO more VALUES (randomblob(3000))")
    left.write_bytes(journal_of(path).read_bytes())
    cut = path.read_bytes()
    other.execute("ROLLBACK")
    other.close()
    path.write_bytes(cut)
    left.rename(journal_of(path))
    with journal_of(path).open("rb") as held:  # as another process may
        assert b"Ada" in held.read()
        with Gallery(path, reader=reader) as gallery:
            assert [person.name for person in gallery.people()] == ["Ada"]
        held.seek(0)
        assert not held.read().strip(b"\0")
