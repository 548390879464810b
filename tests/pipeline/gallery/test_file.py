"""The gallery's file: damaged, foreign, newer, missing, read-only, shared by processes."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from facestream.pipeline.core.errors import GalleryCorrupt, GalleryError
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.storage import database, sqlite, transactions
from facestream.pipeline.storage.schema import Base

from tests.pixels import PixelReader, paint

from .conftest import stored

Photos = Callable[..., list[Path]]


def one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and str(error) != ""


@pytest.fixture
def filled(gallery: Gallery, photos: Photos) -> Path:
    """The file of a closed gallery with four photos."""
    gallery.add("Ann", *photos(1))
    gallery.add("Bob", *photos(2))
    gallery.close()
    return gallery.path


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """File permissions count, also when the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    for place in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(place, 65534, -1)
    parents = [place for place in tmp_path.parents if place.stat().st_mode & 0o77 == 0]
    for place in parents:
        place.chmod(0o711)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for place in parents:
            place.chmod(0o700)


@pytest.mark.parametrize("content", [b"hello, this is text", b"\x00" * 5000, b"SQLite format 2\0"])
def test_a_file_of_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(GalleryCorrupt, match="not a facestream gallery") as caught:
        Gallery(path)
    assert one_line(caught.value)
    assert path.read_bytes() == content


def test_a_foreign_sqlite_file_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(GalleryCorrupt, match="another program"):
        Gallery(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_gallery(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    with pytest.raises(GalleryCorrupt):
        Gallery(path, create="never")
    with Gallery(path) as gallery:
        assert gallery.people() == []


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_file(filled: Path, keep: float) -> None:
    content = filled.read_bytes()
    filled.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(GalleryCorrupt, match="damaged") as caught:
        Gallery(filled)
    assert one_line(caught.value)


def test_overwritten_pages(filled: Path) -> None:
    content = bytearray(filled.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 64] = os.urandom(64)
    filled.write_bytes(content)
    with pytest.raises(GalleryCorrupt, match="damaged") as caught:
        Gallery(filled)
    assert one_line(caught.value)


def test_damage_behind_the_check(
    filled: Path, monkeypatch: pytest.MonkeyPatch, reader: PixelReader
) -> None:
    """Large galleries are not read through at the start: damage shows when it is met."""
    monkeypatch.setattr(sqlite, "CHECKED_BYTES", 0)
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'photos'")
    content = bytearray(filled.read_bytes())
    content[4096 * (page[0] - 1) : 4096 * page[0]] = os.urandom(4096)
    filled.write_bytes(content)
    with Gallery(filled, reader=reader) as gallery, pytest.raises(GalleryCorrupt):
        [gallery.crop(photo) for name in ("Ann", "Bob") for photo in gallery.photos(name)]


def test_a_lost_crop(filled: Path, reader: PixelReader) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE photos SET crop = x'00' WHERE id = 1")
    connection.close()
    with Gallery(filled, reader=reader) as gallery:
        photo = gallery.photos("Ann")[0]
        with pytest.raises(GalleryCorrupt, match="photo 1"):
            gallery.crop(photo)


def test_a_damaged_block_does_not_keep_people_from_being_removed(
    filled: Path, reader: PixelReader
) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE templates SET mu = x'000000'")
    connection.close()
    with Gallery(filled, reader=reader) as gallery:
        gallery.refresh()
        assert gallery.templates() == 0
        gallery.merge("Ann", "Bob")
        gallery.remove("Ann")
        assert gallery.people() == []
        assert len(stored(gallery).templates.mu) == 0


def test_a_newer_schema_says_what_to_do(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    with pytest.raises(GalleryError, match=r"newer facestream.*upgrade") as caught:
        Gallery(filled)
    assert not isinstance(caught.value, GalleryCorrupt)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="facestream gallery add"):
        Gallery(tmp_path / "x.db", create="never")
    with pytest.raises(GalleryError, match="folder does not exist"):
        Gallery(tmp_path / "no" / "x.db")
    with pytest.raises(GalleryError, match="is a folder"):
        Gallery(tmp_path)


def test_the_default_path_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Gallery() as gallery:
        assert gallery.path.is_relative_to(tmp_path / "data")
        assert gallery.path.is_file()


def test_odd_places(tmp_path: Path, reader: PixelReader) -> None:
    """Nothing in a path is read as a URL, an option or a format."""
    for name in ("100% #1?mode=ro.db", ":memory:", "file:x.db", "ünï\ncode.db"):
        with Gallery(tmp_path / name, reader=reader) as gallery:
            gallery.add("Ann", paint(tmp_path / "a.png"))
        assert (tmp_path / name).stat().st_size > 0


@pytest.mark.usefixtures("unprivileged")
class TestPermissions:
    def test_a_read_only_gallery_is_read_and_not_written(
        self, tmp_path: Path, reader: PixelReader
    ) -> None:
        path = tmp_path / "x.db"
        photo = paint(tmp_path / "a.png")
        with Gallery(path, reader=reader) as gallery:
            gallery.add("Ann", photo)
        path.chmod(0o400)
        tmp_path.chmod(0o500)
        try:
            with Gallery(path, reader=reader) as gallery:
                assert gallery.person("Ann").photos == 1
                with pytest.raises(GalleryError, match="read-only") as caught:
                    gallery.remove("Ann")
                assert one_line(caught.value)
        finally:
            tmp_path.chmod(0o700)

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        with pytest.raises(GalleryError, match="cannot be opened: Permission denied"):
            Gallery(folder / "x.db")

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "x.db"
        Gallery(path).close()
        path.chmod(0o000)
        with pytest.raises(GalleryError, match="permissions"):
            Gallery(path)


def test_waiting_for_another_writer_ends(
    filled: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(filled, isolation_level=None)
    with Gallery(filled, reader=reader) as gallery:
        other.execute("BEGIN IMMEDIATE")
        assert len(gallery.people()) == 2  # reading goes on
        with pytest.raises(GalleryError, match="in use by another process"):
            gallery.add("Ann", *photos(1, 3))
        other.execute("ROLLBACK")
        assert gallery.add("Ann", *photos(1, 3))[-1].accepted
    other.close()


def test_a_search_does_not_wait_for_another_writer(
    filled: Path,
    reader: PixelReader,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It serves all cameras: a gallery that is in use stays as it was read last."""
    monkeypatch.setattr(transactions, "BUSY_SECONDS", 3600)
    other = sqlite3.connect(filled, isolation_level=None)
    with Gallery(filled, reader=reader) as gallery, Gallery(filled, reader=reader) as writer:
        search = gallery.searcher(reader.model_id, None)
        search.refresh()
        writer.add("Cid", *photos(3, 1))
        other.execute("BEGIN EXCLUSIVE")
        assert [search.refresh() for _ in range(3)] == [False] * 3
        other.execute("ROLLBACK")
        assert search.refresh()
        assert not search.refresh()
        assert search.templates() == gallery.templates()
    other.close()
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert "in use by another process" in said[0]


SCRIPT = """
import runpy, sys, time
from pathlib import Path
root, database, folder, delay = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
sys.path.insert(0, root)
from facestream.pipeline.gallery import Gallery, plan_import
from tests.pixels import PixelReader

class Slow(PixelReader):
    def detect(self, image, *, min_face=None):
        time.sleep(float(delay))
        return super().detect(image)

with Gallery(database, reader=Slow()) as gallery:
    print("ready", flush=True)
    for name, result in gallery.iter_import(plan_import(Path(folder))):
        print(name, result.path.name, result.accepted, flush=True)
"""


def importing(database_path: Path, folder: Path, *, delay: float = 0.0) -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root), str(database_path), str(folder), str(delay)],
        stdout=subprocess.PIPE,
        text=True,
    )


def folder_of(place: Path, people: range, photos: int) -> Path:
    for person in people:
        for number in range(photos):
            paint(place / f"p{person}" / f"{person}-{number}.png", person=person)
    return place


def test_what_was_reported_survives_a_kill(tmp_path: Path, reader: PixelReader) -> None:
    folder = folder_of(tmp_path / "people", range(1, 5), 12)
    path = tmp_path / "x.db"
    process = importing(path, folder, delay=0.01)
    assert process.stdout is not None
    reported = []
    for line in process.stdout:
        if line.strip() != "ready":
            reported.append(line.split())
        if len(reported) == 11:
            process.kill()
            break
    rest = process.stdout.read()
    process.stdout.close()
    process.wait(30)
    # What it said before the kill reached it counts as well; a cut line does not.
    reported += [line.split() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert 11 <= len(reported) < 48
    with Gallery(path, reader=reader) as gallery:
        for name, photo, accepted in reported:
            assert accepted == "True"
            assert photo in {Path(kept.path).name for kept in gallery.photos(name)}
        report = gallery.import_folder(folder)
        assert not any(result.rejected for _, result in report.results)
        assert [person.photos for person in gallery.people()] == [12] * 4
        assert len(stored(gallery).templates.mu) == 48
    assert not path.with_name("x.db-journal").exists()


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Both make the gallery, and both add to it, also to the same person."""
    path = tmp_path / "x.db"
    one = folder_of(tmp_path / "one", range(1, 4), 4)
    two = folder_of(tmp_path / "two", range(3, 6), 4)
    for file in (two / "p3").iterdir():
        paint(file.with_name(f"other-{file.name}"), person=3)
        file.unlink()
    running = [importing(path, one), importing(path, two)]
    for process in running:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert output.count("True") == 12
    with Gallery(path, create="never") as gallery:
        assert [person.photos for person in gallery.people()] == [4, 4, 8, 4, 4]


def test_the_migrations_make_the_models_tables(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Gallery(tmp_path / "x.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_known_revisions_are_the_scripts(tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory

    path = tmp_path / "x.db"
    Gallery(path).close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(database.alembic_config(connection))
        revisions = [script.revision for script in scripts.walk_revisions()]
    engine.dispose()
    assert tuple(reversed(revisions)) == database.REVISIONS


def test_a_closed_gallery_is_one_file_that_can_be_copied(filled: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy.db"
    copy.parent.mkdir()
    shutil.copy(filled, copy)
    with Gallery(copy, create="never") as gallery:
        assert [person.name for person in gallery.people()] == ["Ann", "Bob"]
        assert not gallery.path.with_name("copy.db-wal").exists()
