"""Stored sightings: what is written is read, in every order and page."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from facestream.pipeline.core.errors import GalleryCorrupt, GalleryError, UsageError
from facestream.pipeline.core.location import locate
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sightings import Sighting, SightingFilter, Sightings
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.database import open_database
from facestream.pipeline.storage.schema import SightingTemplateRow
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.sightings.stored import EPOCH, appeared, left
from tests.pixels import PixelReader, paint


@pytest.fixture
def path(database: Path | str) -> Path | str:
    return database


def write(path: Path | str, *events: object) -> None:
    with Sightings(path, create="if_missing") as store, SightingWriter(store) as writer:
        for event in events:
            writer.event(event, pace="waits")  # type: ignore[arg-type]


def test_a_sighting_from_its_appearance_to_its_end(path: Path | str) -> None:
    first = appeared(at=5.0)
    with Sightings(path, create="if_missing") as store:
        with SightingWriter(store) as writer:
            writer.event(first, pace="waits")
            writer.seen(first.sighting, "door", first.at)
        assert store.page().sightings[0].state == "interrupted"  # its run ended without its end
        with SightingWriter(store) as writer:
            writer.event(left(first, shade=90, verdict="stranger"), pace="waits")
        (one,) = store.page().sightings
    assert one.id == first.sighting
    assert (one.state, one.source, one.faces, one.looks) == ("closed", "door", 7, 2)
    assert one.start == datetime.fromtimestamp(EPOCH + 5, UTC)
    assert one.end == datetime.fromtimestamp(EPOCH + 7, UTC)
    assert (one.verdict, one.name, one.person_id) == ("stranger", "unknown", None)
    for kind, size in (("face", (112, 112)), ("frame", (20, 30))):
        picture = cv2.imread(one.pictures[kind])  # type: ignore[index]
        assert picture is not None
        assert picture.shape[:2] == size
        assert abs(int(picture.mean()) - 90) <= 1
    assert f"{one.start:%Y/%m/%d}" in one.pictures["face"]


def test_its_template_is_kept(path: Path | str) -> None:
    write(path, left())
    engine = open_database(locate(path), create="never")
    with engine.connect() as connection:
        row = connection.execute(sa.select(SightingTemplateRow.__table__)).one()
    engine.dispose()
    assert row.model_id == "m"
    assert np.frombuffer(row.mu, "<f2").tolist() == [0, 1, 2, 3]


def test_photos_without_a_time_are_ordered_by_when_they_were_stored(path: Path | str) -> None:
    event = left(file="a.jpg")
    still = event.model_copy(
        update={
            "start": event.start.model_copy(update={"utc": None}),
            "end": event.end.model_copy(update={"utc": None}),
        }
    )
    write(path, left(), still)
    with Sightings(path) as store:
        newest = store.page().sightings[0]
        assert (newest.file, newest.start, newest.end) == ("a.jpg", None, None)


def test_filters(path: Path | str) -> None:
    events = [
        left(start=100.0 * n, source=("door", "yard")[n % 2], verdict=("stranger", "unsure")[n < 3])
        for n in range(6)
    ]
    write(path, *events)
    at = datetime.fromtimestamp(EPOCH, UTC)
    with Sightings(path) as store:

        def starts(**wanted: object) -> list[int]:
            found = store.page(SightingFilter(**wanted)).sightings  # type: ignore[arg-type]
            assert store.count(SightingFilter(**wanted)) == len(found)  # type: ignore[arg-type]
            return [round(one.start_pts / 100) for one in found]

        assert starts() == [5, 4, 3, 2, 1, 0]
        assert starts(sources=("yard",)) == [5, 3, 1]
        assert starts(verdicts=("unsure",)) == [2, 1, 0]
        since, until = at + timedelta(seconds=200), at + timedelta(seconds=400)
        assert starts(since=since, until=until) == [3, 2]
        assert starts(names=("unknown",)) == [5, 4, 3, 2, 1, 0]
        assert starts(names=("Ada",)) == []


def test_a_name_is_the_one_the_person_has_now(path: Path | str, tmp_path: Path) -> None:
    with Gallery(path, reader=PixelReader()) as gallery:
        gallery.add("Ada", paint(tmp_path / "a.png"))
        person = gallery.person("Ada").id
        write(path, left(person_id=person, name="Ada", verdict="known"), left(person_id=99))
        gallery.rename("Ada", "Ada Lovelace")
        with Sightings(path) as store:
            wanted = SightingFilter(names=("ada lovelace",))
            assert [one.name for one in store.page(wanted).sightings] == ["Ada Lovelace"]
            gallery.add("Countess", paint(tmp_path / "b.png", shade=90))
            gallery.merge("Countess", "Ada Lovelace")
            wanted = SightingFilter(names=("countess",))
            assert [one.name for one in store.page(wanted).sightings] == ["Countess"]
            gallery.remove("Countess")
            assert [one.name for one in store.page().sightings] == ["unknown", "unknown"]


@settings(max_examples=20, deadline=None)
@given(starts=st.lists(st.integers(0, 5), min_size=1, max_size=12), limit=st.integers(1, 5))
def test_pages_have_each_sighting_once_newest_first(starts: list[int], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.db"
        write(path, *(left(start=float(start)) for start in starts))
        with Sightings(path) as store:
            found: list[Sighting] = []
            cursor = None
            while True:
                page = store.page(limit=limit, cursor=cursor)
                assert len(page.sightings) <= limit
                found += page.sightings
                cursor = page.cursor
                if cursor is None:
                    break
    assert len({one.id for one in found}) == len(starts)
    assert [one.start_pts for one in found] == sorted(starts, reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "MjAyNi0xMS0zMCAx"])
def test_a_cursor_of_another_kind(path: Path | str, cursor: str) -> None:
    write(path, left())
    with Sightings(path) as store, pytest.raises(UsageError, match="cursor"):
        store.page(cursor=cursor)


def test_get(path: Path | str) -> None:
    event = left()
    write(path, event)
    with Sightings(path) as store:
        found = store.get(event.sighting)
        assert found.id == event.sighting
        assert store.get(event.sighting[:8]).id == event.sighting
        for wrong in ("nobody", "", "%"):
            with pytest.raises(UsageError, match="facestream who"):
                store.get(wrong)


def test_no_database(tmp_path: Path) -> None:
    path = tmp_path / "house.db"
    with pytest.raises(GalleryError, match="there is no gallery"):
        Sightings(path)
    path.write_bytes(b"text")
    with pytest.raises(GalleryCorrupt):
        Sightings(path)


DYING = """
import os, runpy, sys, time
from pathlib import Path
root, database, uid = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
sys.path.insert(0, root)
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.writer import SightingWriter
from tests.pipeline.sightings.stored import appeared
store = Sightings(database, create="if_missing")
writer = SightingWriter(store)
writer.event(appeared(uid=uid), pace="waits")
while not store.count():
    time.sleep(0.02)
print("stored", flush=True)
time.sleep(60)
"""


def test_the_sightings_of_a_killed_run_are_closed_as_interrupted(path: Path | str) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", DYING, str(root), str(path), "a" * 32]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stored\n"
        write(path, left())  # beside it, while it lives
        with Sightings(path) as store:
            (one,) = (one for one in store.page().sightings if one.id == "a" * 32)
            assert one.state == "open"
        process.kill()
    write(path, left())
    with Sightings(path) as store:
        found = store.get("a" * 32)
        assert found.state == "interrupted"
