"""Galleries without networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.changes import Snapshot
from facestream.pipeline.gallery.store import Store

from tests.pixels import PixelReader, paint


def stored(gallery: Gallery) -> Snapshot:
    """What is in the gallery's file."""
    store = Store(gallery.location, create="never")
    try:
        return store.snapshot(columns="both")
    finally:
        store.close()


@pytest.fixture
def reader() -> PixelReader:
    return PixelReader()


@pytest.fixture
def gallery(tmp_path: Path, reader: PixelReader) -> Iterator[Gallery]:
    """In a file."""
    with Gallery(tmp_path / "people.db", reader=reader) as opened:
        yield opened


@pytest.fixture
def any_gallery(database: Path | str, reader: PixelReader) -> Iterator[Gallery]:
    """In a file, and on a server."""
    with Gallery(database, reader=reader) as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., list[Path]]:
    """Makes so many photos of a person."""

    def make(person: int, count: int = 2) -> list[Path]:
        folder = tmp_path / "photos"
        return [paint(folder / f"{person}-{n}.png", person=person) for n in range(count)]

    return make
