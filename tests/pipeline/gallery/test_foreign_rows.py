"""Rows of a gallery's file that cannot be used are set aside; the rest and the advice work."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.records import Embedded
from facestream.pipeline.gallery.templates import BLOCK

from tests.pixels import PixelReader, paint

from .conftest import stored

Change = Callable[[sqlite3.Connection], object]


def blob_of(connection: sqlite3.Connection, column: str) -> np.ndarray[tuple[int, ...], np.dtype]:
    (data,) = connection.execute(f"SELECT {column} FROM templates WHERE block = 0").fetchone()
    return np.frombuffer(data, "<i8" if column == "person_ids" else "<f4").copy()


def set_value(column: str, at: int, value: float) -> Change:
    def change(connection: sqlite3.Connection) -> None:
        array = blob_of(connection, column)
        array[at] = value
        connection.execute(f"UPDATE templates SET {column} = ? WHERE block = 0", (array.tobytes(),))

    return change


def narrow(connection: sqlite3.Connection) -> None:
    """Photos 64 and on, of Ann and Bob, have 8 values."""
    eight = bytes(4 * BLOCK * 8)
    connection.execute("UPDATE templates SET mu = ?, logvar = ? WHERE block = 1", (eight, eight))


DIM = 16
# What was done to the file, and the photos that are left out: 1 is Ann's, 2 Bob's.
CHANGES: dict[str, tuple[Change, str]] = {
    "nan": (set_value("mu", 1 * DIM, np.nan), "1 of 'Ann'"),
    "infinite": (set_value("mu", 1 * DIM, np.inf), "1 of 'Ann'"),
    "huge": (set_value("mu", 2 * DIM, 1e30), "2 of 'Bob'"),
    "other person": (set_value("person_ids", 2, 1), "2 of 'Bob'"),
    "nobody": (set_value("person_ids", 2, 999), "2 of 'Bob'"),
    "narrow": (narrow, "64 of 'Ann'; 65 of 'Bob'"),
    "text": (
        lambda connection: connection.execute("UPDATE templates SET mu = 'x' WHERE block = 1"),
        "64 of 'Ann'; 65 of 'Bob'",
    ),
    "foreign model": (
        lambda connection: connection.execute(
            "UPDATE templates SET model_id = 'evil' WHERE block = 1"
        ),
        "64 of 'Ann'; 65 of 'Bob'",
    ),
    "removed": (
        lambda connection: connection.execute("DELETE FROM templates WHERE block = 1"),
        "64 of 'Ann'; 65 of 'Bob'",
    ),
}


@pytest.fixture
def filled(gallery: Gallery, tmp_path: Path) -> Path:
    """A closed gallery with photos 1 and 64 of Ann, 2 and 65 of Bob: two blocks."""
    gallery.add("Ann", paint(tmp_path / "1.png", person=1))
    gallery.add("Bob", paint(tmp_path / "2.png", person=2))
    with sqlite3.connect(gallery.path) as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = 63 WHERE name = 'photos'")
    connection.close()
    gallery.add("Ann", paint(tmp_path / "64.png", person=1, shade=9))
    gallery.add("Bob", paint(tmp_path / "65.png", person=2, shade=10))
    gallery.close()
    return gallery.path


@pytest.mark.parametrize("what", CHANGES)
def test_the_rest_works_and_the_advice_helps(
    filled: Path, reader: PixelReader, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    change, expected = CHANGES[what]
    with Gallery(filled) as gallery:
        before = stored(gallery).templates
    with sqlite3.connect(filled) as connection:
        change(connection)
    connection.close()
    with Gallery(filled, reader=reader) as gallery:
        left = 4 - (2 if ";" in expected else 1)
        assert gallery.templates() == left
        assert gallery.search(before.mu, 1).names == (("Ann",), ("Bob",), ("Ann",), ("Bob",))
        (line,) = {line for line in caplog.messages if "left out" in line}
        assert f"(photo {expected})" in line
        assert f"gallery re-embed --gallery {filled}" in line
        assert "\n" not in line
        assert gallery.re_embed() == 4 - left
        assert gallery.templates() == 4
        after = stored(gallery).templates
        np.testing.assert_array_equal(after.mu, before.mu)
        np.testing.assert_array_equal(after.person_ids, before.person_ids)


def test_all_of_a_foreign_model(filled: Path, reader: PixelReader) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE meta SET value = 'evil' WHERE key = 'model_id'")
        connection.execute("UPDATE templates SET model_id = 'evil'")
    connection.close()
    with Gallery(filled, reader=reader) as gallery:
        with pytest.raises(GalleryError, match=r"model 'evil'.*re-embed"):
            gallery.add("Carl", np.zeros((120, 120, 3), np.uint8))
        assert gallery.re_embed() == 4
        assert gallery.model_id == "pixels-1"
        assert gallery.templates() == 4


@pytest.mark.parametrize(
    ("mu", "logvar", "message"),
    [
        (np.ones(8), np.ones(8), "with 8 values is refused: those of this model have 16"),
        (np.full(16, np.nan), np.ones(16), "not finite"),
        (np.zeros(16), np.ones(16), "a length outside"),
        (np.ones(16), np.full(16, np.inf), "log-variances"),
        (np.ones(16), np.ones(15), "shapes"),
        (np.ones(0), np.ones(0), "shapes"),
    ],
)
def test_nothing_of_that_kind_is_stored(
    filled: Path,
    tmp_path: Path,
    mu: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    logvar: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    message: str,
) -> None:
    with Gallery(filled) as gallery:
        face = faces_of(paint(tmp_path / "new.png", person=5))
        embedded = Embedded("pixels-1", mu.astype(np.float32), logvar.astype(np.float32))
        with pytest.raises(GalleryError, match=message):
            gallery.add_face("Carl", face, embedded)
        assert [person.name for person in gallery.people()] == ["Ann", "Bob"]


def faces_of(photo: Path):  # type: ignore[no-untyped-def]
    from facestream.pipeline.gallery.faces import PhotoContent, main_face

    return main_face(PhotoContent.load(photo, name=photo), PixelReader())


def test_a_crop_in_the_file_is_no_bomb(filled: Path, reader: PixelReader) -> None:
    from .test_hostile_exports import png

    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE photos SET crop = ? WHERE id = 1", (png(50_000, 50_000),))
    connection.close()
    with (
        Gallery(filled, reader=reader) as gallery,
        pytest.raises(GalleryError, match="no readable picture of photo 1"),
    ):
        gallery.crop(1)
