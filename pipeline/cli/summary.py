"""Who is seen: a line as it happens, and a table of sightings per source and person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.events import Event, Identified, Left, Updated
from ..sinks.base import Sink
from .console import clock, plural, table

SPANS_SHOWN = 3


class AnnounceSink(Sink):
    """Prints a line for every person identified by a live source.

    Args:
        console: where to; a progress bar on the same console stays below.
        sources: the live ones.
    """

    def __init__(self, console: Console, sources: Collection[str]) -> None:
        self._console = console
        self._sources = frozenset(sources)

    def event(self, event: Event) -> None:
        if event.source not in self._sources:
            return
        if isinstance(event, Identified):
            self._print(event, Text(event.name, style="green"))
        elif isinstance(event, Updated) and event.change == "renamed":
            name = Text(event.name, style="green").append(f" (not {event.previous_name})", "yellow")
            self._print(event, name)
        elif isinstance(event, Updated) and event.change == "withdrawn":
            self._print(event, Text(f"not {event.previous_name} after all", style="yellow"))

    def _print(self, event: Identified | Updated, who: Text) -> None:
        line = Text(f"{event.at.utc.astimezone():%H:%M:%S}  ", style="dim")
        line.append_text(who)
        line.append(f"  {event.source}  {event.similarity:.2f}", style="dim")
        self._console.print(line, soft_wrap=True)


@dataclass(slots=True)
class PersonSummary:
    """One person (or all unknown ones) in one source.

    Attributes:
        best: the sighting with the highest similarity; ``picture`` is its file.
        spans: start and end of the first few sightings, in words.
        reasons: why they are unknown.
    """

    source: str
    name: str
    person_id: int | None
    best: Left
    picture: Path | None = None
    count: int = 0
    seconds: float = 0.0
    spans: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "name": self.name,
            "person_id": self.person_id,
            "sightings": self.count,
            "seconds": round(self.seconds, 3),
            "similarity": round(self.best.similarity, 4),
            "probability": round(self.best.probability, 4),
            "uncertainty": self.best.uncertainty,
            "picture": None if self.picture is None else self.picture.as_posix(),
            "reasons": dict(self.reasons),
        }


class SummarySink(Sink):
    """Counts sightings per source and person; memory grows with people, not with time.

    Args:
        live: names of the sources whose times are those of the day.
        pictures_below: the folder that the events' picture paths are relative to.
    """

    def __init__(self, *, live: Collection[str] = (), pictures_below: Path | None = None) -> None:
        self._live = frozenset(live)
        self._below = pictures_below or Path()
        self._seen: dict[tuple[str, int | None], PersonSummary] = {}

    def event(self, event: Event) -> None:
        if not isinstance(event, Left):
            return
        key = (event.source, event.person_id)
        seen = self._seen.get(key)
        # The picture's array is not needed any more, and would be kept alive.
        event = event.with_image(None)
        picture = None if event.picture is None else self._below / event.picture
        if seen is None:
            seen = PersonSummary(event.source, event.name, event.person_id, event, picture)
            self._seen[key] = seen
        seen.count += 1
        seen.seconds += event.end.pts - event.start.pts
        if len(seen.spans) < SPANS_SHOWN:
            seen.spans.append(self._span(event))
        if event.reason is not None:
            seen.reasons[event.reason] += 1
        if event.similarity > seen.best.similarity:
            seen.best = event
            seen.picture = picture or seen.picture

    def _span(self, event: Left) -> str:
        if event.source in self._live:
            start, end = (f"{m.utc.astimezone():%H:%M:%S}" for m in (event.start, event.end))
        else:
            start, end = clock(event.start.pts), clock(event.end.pts)
        return start if start == end else f"{start}–{end}"

    def people(self) -> list[PersonSummary]:
        """Those with a name first, then the unknown; within that by source and time seen."""
        return sorted(
            self._seen.values(), key=lambda s: (s.person_id is None, s.source, -s.seconds)
        )


def people_table(people: list[PersonSummary], *, faces: int = 0) -> Table | str:
    """The table of who was seen; without anybody what became of the ``faces`` that were found."""
    if not people:
        if faces:
            brief = "each seen too briefly" if faces > 1 else "seen too briefly"
            return f"{plural(faces, 'face')}, {brief} (fewer than tracking.min_faces times)."
        return "Nobody was seen."
    several = len({seen.source for seen in people}) > 1
    pictures = any(seen.picture for seen in people)
    numeric = ("Times", "Similarity", "σ")
    shown = table(
        *("Who", *(["Source"] if several else [])),
        *("When", *numeric, *(["Picture"] if pictures else [])),
        title="Who was seen",
        right=numeric,
    )
    shown.columns[0].style = "bold"
    shown.columns[2 if several else 1].max_width = 28
    for seen in people:
        who = Text(seen.name, style="yellow" if seen.person_id is None else "green")
        if seen.reasons:
            reasons = (reason.replace("_", " ") for reason, _ in seen.reasons.most_common(2))
            who.append(f" ({', '.join(reasons)})")
        more = seen.count - len(seen.spans)
        best, sigma = seen.best, seen.best.uncertainty
        cells = [
            *([seen.source] if several else []),
            ", ".join(seen.spans) + (f" and {more} more" if more else ""),
            str(seen.count),
            "–" if best.reason == "no_gallery" else f"{best.similarity:.2f}",
            "–" if sigma is None else f"{sigma:.2f}",
            *([_short(seen.picture)] if seen.picture is not None else []),
        ]
        shown.add_row(who, *map(Text, cells))
    return shown


def _short(path: Path) -> str:
    """From the working folder where it lies below it."""
    full, here = path.absolute(), Path.cwd()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(path)
