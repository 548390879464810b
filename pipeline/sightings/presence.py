"""On which days a person was seen."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, tzinfo

from sqlalchemy import select

from ..storage.schema import SightingRow
from .store import Sightings


def days_seen(
    sightings: Sightings,
    person_id: int,
    *,
    since: datetime,
    zone: tzinfo,
    sources: tuple[str, ...] | None = None,
) -> dict[str, int]:
    """How many sightings of a person each day has that has any.

    Args:
        since: sightings that began at or after it, UTC.
        zone: whose days are meant.
        sources: of these cameras; None: of all.

    Returns:
        By day, as YYYY-MM-DD.
    """
    query = select(SightingRow.seen_at).where(
        SightingRow.person_id == person_id, SightingRow.seen_at >= since
    )
    if sources is not None:
        query = query.where(SightingRow.source.in_(sources))
    with sightings.reading() as connection:
        times = connection.scalars(query)
        return dict(Counter(at.astimezone(zone).date().isoformat() for at in times))
