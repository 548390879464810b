"""What is exported: sightings, and from when to when people were there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ..sightings import Sighting, SightingFilter, Sightings

_PAGE: Final = 500
ABSENCE: Final = timedelta(minutes=15)
"""A person who is seen again within this time was there meanwhile."""

SIGHTING_COLUMNS: Final[dict[str, type]] = {
    "id": str,
    "source": str,
    "file": str,
    "state": str,
    "start": datetime,
    "end": datetime,
    "start_pts": float,
    "end_pts": float,
    "name": str,
    "person_id": int,
    "verdict": str,
    "similarity": float,
    "probability": float,
    "uncertainty": float,
    "reason": str,
    "faces": int,
    "fixed": bool,
    "ignored": bool,
}
"""Fields of `Sighting`, as in ``facestream who --json``; the paths of pictures stay here."""
PRESENCE_COLUMNS: Final[dict[str, type]] = {
    "name": str,
    "person_id": int,
    "start": datetime,
    "end": datetime,
    "seconds": float,
    "sources": str,
    "sightings": int,
}


@dataclass(slots=True)
class Stay:
    """A person was there.

    Attributes:
        start, end: UTC.
        sources: cameras and videos, in alphabetical order.
        sightings: how many.
    """

    name: str
    person_id: int
    start: datetime
    end: datetime
    sources: set[str]
    sightings: int

    def row(self) -> list[Any]:
        """The values of `PRESENCE_COLUMNS`."""
        seconds = round((self.end - self.start).total_seconds(), 3)
        where = ", ".join(sorted(self.sources))
        return [self.name, self.person_id, self.start, self.end, seconds, where, self.sightings]


def all_sightings(sightings: Sightings, wanted: SightingFilter) -> Iterator[Sighting]:
    """Every sighting that matches, the newest first."""
    cursor = None
    while True:
        page = sightings.page(wanted, limit=_PAGE, cursor=cursor)
        yield from page.sightings
        if (cursor := page.cursor) is None:
            return


def sighting_rows(sightings: Sightings, wanted: SightingFilter) -> Iterator[list[Any]]:
    """The values of `SIGHTING_COLUMNS`, the newest first."""
    for one in all_sightings(sightings, wanted):
        yield [_rounded(getattr(one, name)) for name in SIGHTING_COLUMNS]


def presences(sightings: Sightings, wanted: SightingFilter) -> list[Stay]:
    """When people with a name were there, the earliest first; what has no time is left out."""
    found = [
        Stay(one.name, one.person_id, one.start, one.end or one.start, {one.source}, 1)
        for one in all_sightings(sightings, wanted)
        if one.person_id is not None and one.start is not None and not one.ignored
    ]
    found.sort(key=lambda one: one.start)
    done: list[Stay] = []
    latest: dict[int, Stay] = {}
    for one in found:
        kept = latest.get(one.person_id)
        if kept is None or one.start > kept.end + ABSENCE:
            latest[one.person_id] = one
            done.append(one)
            continue
        kept.end = max(kept.end, one.end)
        kept.sources |= one.sources
        kept.sightings += 1
    return done


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
