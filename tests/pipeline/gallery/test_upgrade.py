"""Galleries that an older facestream wrote are upgraded in place, completely or not at all."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.storage import database, sqlite

from tests.pixels import PixelReader

from .conftest import stored
from .test_file import unprivileged

__all__ = ["unprivileged"]

PEOPLE, DIM = 40, 16
NOW = "2026-01-02T03:04:05.000006+00:00"
# Person 5 was removed: the ids have gaps.
PHOTOS = [photo for photo in range(1, 2 * PEOPLE + 1) if photo not in (9, 10)]


def owner(photo: int) -> int:
    return (photo + 1) // 2


def mu_of(photo: int, model: str = "pixels-1") -> Floats:
    """Two photos of a person are similar."""
    person, noise = (np.random.default_rng([len(model), n]) for n in (owner(photo), 1000 + photo))
    mu: Floats = (person.normal(size=DIM) + 0.1 * noise.normal(size=DIM)).astype(np.float32)
    return mu


def crop_of(photo: int) -> bytes:
    crop = np.full((112, 112, 3), photo, np.uint8)
    return bytes(cv2.imencode(".png", crop)[1])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A gallery of the schema 0001; another model has embedded half of the photos."""
    from alembic import command

    path = tmp_path / "people.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        command.upgrade(database.alembic_config(connection), "0001")
    engine.dispose()
    blobs = [np.arange(length, dtype="<f4").tobytes() for length in (4, 10)]
    with sqlite3.connect(path) as file:
        for person in sorted({owner(photo) for photo in PHOTOS}):
            row = (person, f"Person {person}", f"person {person}", NOW)
            file.execute("INSERT INTO people VALUES (?, ?, ?, ?)", row)
        for photo in PHOTOS:
            file.execute(
                "INSERT INTO photos VALUES (?, ?, ?, ?, 120, 130, ?, ?, 0.9, ?, ?)",
                (photo, owner(photo), f"{photo}.jpg", f"{photo:064x}", *blobs, crop_of(photo), NOW),
            )
            for model in ("pixels-1", "pixels-other")[: 1 + photo % 2]:
                mu = mu_of(photo, model)
                file.execute(
                    "INSERT INTO embeddings VALUES (?, ?, ?, ?, ?)",
                    (photo, model, mu.tobytes(), (-mu).tobytes(), NOW),
                )
        file.execute("INSERT INTO meta VALUES ('model_id', 'pixels-1')")
        file.execute("UPDATE meta SET value = '81' WHERE key = 'generation'")
        file.execute("INSERT INTO meta VALUES ('change/000000000000081', 'a1b2c3 removed 5')")
    file.close()
    return path


def is_complete(path: Path) -> None:
    """The gallery has all that ``old`` has, and finds what comparing each pair finds."""
    mu = np.stack([mu_of(photo) for photo in PHOTOS])
    probes = np.random.default_rng(0).normal(size=(20, DIM)).astype(np.float32)
    unit, sought = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (mu, probes))
    people = np.array([owner(photo) for photo in PHOTOS])
    with Gallery(path, create="never", reader=PixelReader()) as gallery:
        templates = stored(gallery).templates
        assert templates.photo_ids.tolist() == PHOTOS
        assert templates.person_ids.tolist() == people.tolist()
        np.testing.assert_array_equal(templates.mu, mu)
        np.testing.assert_array_equal(templates.logvar, -mu)
        assert [person.photos for person in gallery.people()] == [2] * (PEOPLE - 1)
        photo = gallery.photos("Person 7")[1]
        assert (photo.id, photo.path, photo.sha256) == (14, "14.jpg", f"{14:064x}")
        assert photo.landmarks.tolist() == np.arange(10.0).reshape(5, 2).tolist()
        assert (gallery.crop(photo) == 14).all()
        found = gallery.search(probes, 5)
        for row, cosines in enumerate(sought @ unit.T):
            best = {p: cosines[people == p].max() for p in people.tolist()}
            expected = sorted(best, key=lambda p: -best[p])[:5]
            assert found.person_ids[row].tolist() == expected
            assert found.names[row] == tuple(f"Person {p}" for p in expected)
            np.testing.assert_allclose(
                found.similarities[row], [best[p] for p in expected], atol=1e-6
            )
    store = Store(path, create="never")
    try:
        assert (store.head().generation, store.head().stamp) == (81, "a1b2c3")
        assert store.without_embedding("pixels-other") == [p for p in PHOTOS if p % 2 == 0]
    finally:
        store.close()


def revision(path: Path) -> str:
    with sqlite3.connect(path) as file:
        (found,) = file.execute("SELECT version_num FROM alembic_version").fetchone()
    file.close()
    return str(found)


def test_everything_is_taken_over(old: Path) -> None:
    assert revision(old) == "0001"
    is_complete(old)
    assert revision(old) == database.REVISIONS[-1]
    is_complete(old)


def test_it_goes_on_as_any_gallery(old: Path) -> None:
    crop = np.full((120, 120, 3), 200, np.uint8)
    crop[0, 0] = 1, 60, 9
    with Gallery(old, reader=PixelReader()) as gallery:
        gallery.refresh()
        assert gallery.add("Person 3", crop)[0].accepted
        gallery.remove("Person 4")
        assert gallery.templates() == len(PHOTOS) - 1
    with Gallery(old, reader=PixelReader("pixels-other")) as gallery:
        assert gallery.re_embed() == (len(PHOTOS) - 1) // 2 + 1
        assert gallery.model_id == "pixels-other"
        assert mu_of(1).tobytes() not in old.read_bytes()


def test_the_copies_of_older_versions_are_deleted(old: Path) -> None:
    names = (".templates", ".templates.hnsw", ".templates.ivfpq", ".templates.0a1b.part")
    copies = [old.with_name(old.name + name) for name in names]
    for copy in copies:
        copy.write_bytes(mu_of(1).tobytes() * 1000)
    others = [old.with_name("people.db.templates.txt"), old.with_name("other.db.templates")]
    for other in others:
        other.write_bytes(b"mine")
    with copies[0].open("rb") as held:
        is_complete(old)
        assert held.read() == b""  # overwritten and cut off, not just unlinked
    assert not any(copy.exists() for copy in copies)
    assert all(other.read_bytes() == b"mine" for other in others)


def test_no_other_file_is_erased_as_a_copy(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a folder where others may write, somebody may have put a link there."""
    mine = old.with_name("mine")
    mine.write_bytes(b"mine")
    old.with_name("people.db.templates").symlink_to(mine)
    old.with_name("people.db.templates.hnsw").hardlink_to(mine)
    old.with_name("people.db.templates.ivfpq").mkdir()
    os.mkfifo(old.with_name("people.db.templates.1.part"))
    is_complete(old)
    assert mine.read_bytes() == b"mine"
    assert sum("not erased with the copies" in line for line in caplog.messages) == 3


def test_a_gallery_with_the_name_of_a_copy_is_left_alone(old: Path) -> None:
    other = old.with_name("people.db.templates")
    Gallery(other).close()
    content = other.read_bytes()
    is_complete(old)
    assert other.read_bytes() == content


SCRIPT = """
import os, runpy, signal, sys
from pathlib import Path
root, path = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.storage import database, sqlite

def kill(path):
    os.kill(os.getpid(), signal.SIGKILL)

sqlite.delete_copies = kill  # the last step before the commit
Gallery(path)
"""


def test_killed_before_the_end(old: Path) -> None:
    root = Path(__file__).parents[3]
    copy = old.with_name("people.db.templates")
    copy.write_bytes(mu_of(1).tobytes())
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(root), str(old)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert revision(old) == "0001"
    is_complete(old)
    assert not copy.exists()


def test_a_copy_that_cannot_be_deleted(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = old.with_name("people.db.templates")
    copy.write_bytes(mu_of(1).tobytes())

    def refuse(path: Path, *args: object, **rest: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(GalleryError, match=r"people\.db\.templates.*delete it"):
            Gallery(old)
    assert revision(old) == "0001"
    is_complete(old)


@pytest.mark.usefixtures("unprivileged")
class TestPermissions:
    def test_a_read_only_gallery_cannot_be_upgraded(self, old: Path) -> None:
        content = old.read_bytes()
        old.chmod(0o400)
        with pytest.raises(GalleryError, match="read-only"):
            Gallery(old, create="never")
        assert old.read_bytes() == content


def test_a_damaged_embedding_is_left_out_and_made_again(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(old) as file:
        file.execute("UPDATE embeddings SET mu = x'00000000' WHERE photo_id = 1")
    file.close()
    reader = PixelReader()
    with caplog.at_level(logging.WARNING), Gallery(old, reader=reader) as gallery:
        assert "re-embed" in caplog.text
        assert gallery.templates() == len(PHOTOS) - 1
        assert gallery.re_embed() == 1
        assert gallery.templates() == len(PHOTOS)


def test_names_that_are_one_person_now_both_stay(old: Path) -> None:
    names = {1: "Ann Lee", 2: "Ann\u200b\u00adLee", 3: "Ａnn\u2800lee", 4: "می\u200cرود"}
    with sqlite3.connect(old) as file:
        for person, name in {**names, 6: "annlee", 7: "a\nb"}.items():
            row = (name, name.casefold(), person)
            file.execute("UPDATE people SET name = ?, name_key = ? WHERE id = ?", row)
    file.close()
    with Gallery(old, reader=PixelReader()) as gallery:
        assert gallery.person("ann  lee").id == 1
        assert gallery.person("ANNLEE").id == 2, "the first of those with that key"
        for person in (2, 3, 6):
            name = names.get(person, "annlee")
            assert gallery.person(name).id == person, "found by the exact name"
        assert gallery.person("میرود").id == 4
        assert gallery.person("a\nb").id == 7
        assert gallery.rename(names[3], "Ann the third").id == 3
        assert gallery.remove("annlee").id == 6
        assert gallery.person("annlee").id == 2
