"""On which days a person was seen, in the viewer's zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.directory import create_person, first_photos
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.presence import days_seen
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import EPOCH, appeared, left


def test_days_are_those_of_the_zone_and_scope(tmp_path: Path) -> None:
    database = tmp_path / "house.db"
    with Gallery(database) as gallery:
        ada = create_person(gallery, "Ada").id
        assert first_photos(gallery, [ada]) == {}
    start = datetime.fromtimestamp(EPOCH, UTC)
    assert start.isoformat() == "2025-06-15T15:06:40+00:00"
    with Sightings(database) as store:
        writer = SightingWriter(store)
        for hours, source in ((0, "door"), (0, "hall"), (8, "door")):
            first = appeared(at=hours * 3600.0, source=source)
            writer.event(first, pace="waits")
            last = left(first, verdict="known", person_id=ada, name="Ada")
            writer.event(last, pace="waits")
        writer.close()
        since = start - timedelta(days=1)
        assert days_seen(store, ada, since=since, zone=UTC) == {"2025-06-15": 3}
        east = ZoneInfo("Asia/Tokyo")  # 00:06 and 08:06 of the next day
        assert days_seen(store, ada, since=since, zone=east) == {"2025-06-16": 3}
        west = ZoneInfo("Europe/Berlin")
        found = days_seen(store, ada, since=since, zone=west, sources=("door",))
        assert found == {"2025-06-15": 1, "2025-06-16": 1}
        assert days_seen(store, ada + 1, since=since, zone=UTC) == {}
