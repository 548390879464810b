"""What waits for the disk, what is lost when it is slow or full, and what is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import GalleryError, OutputError
from facestream.pipeline.metrics.families import SIGHTINGS_DROPPED, SIGHTINGS_STORED
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.sightings import Sightings, writer
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import appeared, left


class SlowStore(Sightings):
    """Its transactions wait for ``go``, and fail while ``broken``."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path, create="if_missing")
        self.go = threading.Event()
        self.began = threading.Event()
        self.broken = False

    def write(self, *args: object, **more: object) -> None:
        self.began.set()
        assert self.go.wait(30)
        if self.broken:
            self.broken = False
            raise GalleryError("the disk is full")
        super().write(*args, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Path | str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStore]:
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.01, 0.01))
    with SlowStore(database) as store:
        yield store


def test_a_camera_loses_pictures_before_rows(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_PICTURES", 2)
    monkeypatch.setattr(writer, "MAX_ROWS", 6)
    metrics = Metrics()
    with SightingWriter(store) as out:
        out.count_in(metrics)
        out.event(left(shade=1), pace="drops")
        assert store.began.wait(30)  # one is being written, and takes long
        for _ in range(9):
            out.event(left(shade=1), pace="drops")
        store.go.set()
    found = store.page().sightings
    assert len(found) == 1 + 6
    assert sum(bool(one.pictures) for one in found) == 1 + 2
    assert metrics.value(SIGHTINGS_STORED, source="door") == 7
    assert metrics.value(SIGHTINGS_DROPPED, source="door", what="picture") == 4
    assert metrics.value(SIGHTINGS_DROPPED, source="door", what="row") == 3


def test_a_file_waits(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_PICTURES", 1)
    with SightingWriter(store) as out:
        out.event(left(shade=1), pace="waits")
        assert store.began.wait(30)
        out.event(left(shade=1), pace="waits")
        threading.Timer(0.2, store.go.set).start()
        for _ in range(5):
            out.event(left(shade=1), pace="waits")
    assert sum(bool(one.pictures) for one in store.page().sightings) == 7


def test_a_camera_tries_again(store: SlowStore) -> None:
    store.broken = True
    store.go.set()
    first = appeared()
    with SightingWriter(store) as out:
        out.event(first, pace="drops")
        while store.broken:
            out.seen(first.sighting, "door", first.at)
        out.event(left(first), pace="drops")
    (one,) = store.page().sightings
    assert one.state == "closed"


def test_a_row_is_stored_where_its_pictures_cannot_be(store: SlowStore) -> None:
    store.go.set()
    store.media.path.parent.mkdir(parents=True, exist_ok=True)
    store.media.path.write_text("no folder")
    metrics = Metrics()
    with SightingWriter(store) as out:
        out.count_in(metrics)
        out.event(left(shade=1), pace="drops")
    (one,) = store.page().sightings
    assert (one.state, dict(one.pictures)) == ("closed", {})
    assert metrics.value(SIGHTINGS_DROPPED, source="door", what="picture") == 1
    out = SightingWriter(store)
    out.event(left(shade=1), pace="waits")
    with pytest.raises(OutputError, match="cannot be stored"):
        out.close()


def test_a_file_ends_with_the_error(store: SlowStore) -> None:
    store.broken = True
    out = SightingWriter(store)
    out.event(left(), pace="waits")
    store.go.set()

    def more() -> None:
        while True:
            out.event(left(), pace="waits")

    with pytest.raises(OutputError, match="disk is full"):
        more()
    with pytest.raises(OutputError, match="disk is full"):
        out.close()
    out.close()


def test_a_first_row_that_was_lost_comes_with_the_last(
    store: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_ROWS", 1)
    event = appeared()
    with SightingWriter(store) as out:
        out.event(left(), pace="drops")
        assert store.began.wait(30)
        out.event(left(), pace="drops")
        out.event(event, pace="drops")  # lost
        store.go.set()
        monkeypatch.setattr(writer, "MAX_ROWS", 100)
        out.seen(event.sighting, "door", event.at)
        out.event(left(event), pace="drops")
    assert store.get(event.sighting).state == "closed"
