"""``facestream who``: the sightings of the database."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..core.config import Settings, load_settings
from ..core.errors import UsageError
from ..core.location import locate
from ..core.types import Verdict
from ..sightings import Sighting, SightingFilter, Sightings
from ..storage.database import Create
from ..storage.names import printable
from .console import print_json, say, stdout, table

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(min|m|h|d|w)")
_UNITS = {"m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
STYLES: dict[Verdict, str] = {"known": "green", "stranger": "red", "unsure": "yellow"}


def open_sightings(
    db: str | None, config: Path | None, *, create: Create = "never"
) -> tuple[Sightings, Settings]:
    """The sightings of ``--db``, else of the settings, else of the user's gallery.

    Raises:
        ConfigError, GalleryError: there are none, or they cannot be read.
    """
    settings = load_settings(file=config, environment=os.environ)
    settings.storage.apply()
    storage = settings.storage
    database = storage.database if db is None else locate(db)
    return Sightings(database, create=create, media=storage.media), settings


def list_sightings(
    sightings: Sightings, wanted: SightingFilter, *, limit: int, as_json: bool
) -> None:
    """Print the newest sightings."""
    page = sightings.page(wanted, limit=limit)
    if as_json:
        print_json({"sightings": [one.to_dict() for one in page.sightings]})
        return
    if not page.sightings:
        say("no sighting matches" if sightings.count() else "there are no sightings yet")
        return
    stdout().print(sightings_table(page.sightings))
    if page.cursor is not None:
        rest = sightings.count(wanted) - len(page.sightings)
        say(f"and {rest:,} more; --limit shows more of them, the filters fewer")


def sightings_table(found: Sequence[Sighting]) -> Table:
    """A row each: when, where, who, how sure."""
    shown = table("When", "Seconds", "Where", "Who", "Verdict", "Similarity", "σ", "Id",
                  right=("Seconds", "Similarity", "σ"))  # fmt: skip
    for one in found:
        who = printable(one.name) + (" (still there)" if one.state == "open" else "")
        shown.add_row(
            when_of(one),
            f"{one.end_pts - one.start_pts:.1f}",
            Text(place_of(one)),
            Text(who),
            Text(one.verdict, style=STYLES[one.verdict]),
            "–" if one.reason == "no_gallery" else f"{one.similarity:.2f}",
            "–" if one.uncertainty is None else f"{one.uncertainty:.2f}",
            one.id[:8],
        )
    return shown


def when_of(one: Sighting) -> str:
    """When it began; seconds of the source where the time is not known."""
    return f"{one.start_pts:.1f} s" if one.start is None else local(one.start)


def place_of(one: Sighting) -> str:
    """The camera or video, or the photo."""
    return printable(one.source if one.file is None else one.file)


def local(at: datetime) -> str:
    """A time in the machine's zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def wanted_by(
    cameras: Sequence[str] | None,
    since: str | None,
    until: str | None,
    names: Sequence[str] | None,
    verdict: Verdict | None = None,
) -> SightingFilter:
    """The sightings that the flags ask for; raises UsageError as `moment`."""
    return SightingFilter(
        sources=None if cameras is None else tuple(cameras),
        since=moment("--since", since),
        until=moment("--until", until),
        names=None if names is None else tuple(names),
        verdicts=None if verdict is None else (verdict,),
    )


def moment(flag: str, text: str | None, *, now: datetime | None = None) -> datetime | None:
    """The time that a flag means: ISO 8601, ``today``, ``yesterday``, or so long ago (``2h``).

    Raises:
        UsageError: it is none of them.
    """
    if text is None:
        return None
    now = now or datetime.now().astimezone()
    words = text.strip().casefold()
    if words == "now":
        return now
    if words in ("today", "yesterday"):
        day = now.date() - timedelta(days=words == "yesterday")
        return datetime.combine(day, time()).astimezone()
    if (ago := _AGO.fullmatch(words.removesuffix(" ago"))) is not None:
        return now - timedelta(seconds=float(ago[1]) * _UNITS[ago[2]])
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{flag}: {text!r} is no time; give e.g. 2026-11-30, '2026-11-30 14:05', "
            "today, yesterday, 90min, 2h, 7d"
        ) from error
    # Without a zone it is this machine's.
    return at.astimezone(UTC)
