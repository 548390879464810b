"""The gallery behind a live run: what others change is seen, and what goes wrong there is borne."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import ModelMismatch
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.gallery import GallerySearch
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.search import Matcher

from tests.pixels import PixelReader, paint


def test_people_added_by_another_process_are_found(tmp_path: Path) -> None:
    path, reader = tmp_path / "people.db", PixelReader()
    with Gallery(path, reader=reader) as mine, Gallery(path, reader=reader) as theirs:
        matcher = Matcher(GallerySearch(mine, reader.model_id), Thresholds(similarity=0.5))
        theirs.add("Ada", paint(tmp_path / "ada.png", person=1))
        assert matcher.refresh()
        assert not matcher.refresh()
        (found,) = matcher.search(np.ones((1, reader.dim), np.float32))
        assert found.names[0][0] == "Ada"


def test_another_model_in_mid_run_is_an_error(tmp_path: Path) -> None:
    path, reader = tmp_path / "people.db", PixelReader()
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Ada", paint(tmp_path / "ada.png", person=1))
        search = GallerySearch(gallery, reader.model_id)
        assert search.refresh()
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE meta SET value = 'another' WHERE key = 'model_id'")
            database.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
            database.commit()
        with pytest.raises(ModelMismatch, match="another"):
            search.refresh()


def test_a_gallery_that_cannot_be_read_stays_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, reader = tmp_path / "people.db", PixelReader()
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Ada", paint(tmp_path / "ada.png", person=1))
        search = GallerySearch(gallery, reader.model_id)
        assert search.refresh()
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE meta RENAME TO gone")
            database.commit()
        with caplog.at_level(logging.WARNING):
            assert not search.refresh()
        assert "stays as it was" in caplog.text
        assert search.search(np.ones((1, reader.dim), np.float32), 1).names[0] == ("Ada",)
