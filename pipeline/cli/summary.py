"""Who is seen: a line as it happens, and a table of sightings per source and person."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..core.events import Event, Identified, Left, Moment, Updated
from ..identity.grouping import ALONE, GroupingRule, group_sightings
from ..sinks.base import Sink
from .console import clock, plural, table

SPANS_SHOWN = 3
GROUPED = 3_000
"""Unknown sightings whose embeddings are compared: 36 MB of similarities."""
_UNBOUND = 10_000


class AnnounceSink(Sink):
    """Prints a line for every person identified by a live source.

    Args:
        console: where to; a progress bar on the same console stays below.
        sources: the live ones.
    """

    on_error = "raise"

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
        line = Text(f"{_time_of(event.at)}  ", style="dim")
        line.append_text(who)
        line.append(f"  {event.source}  {event.similarity:.2f}", style="dim")
        with suppress(OSError):  # a terminal that was closed does not end the run
            self._console.print(line, soft_wrap=True)


def _time_of(moment: Moment) -> str:
    return clock(moment.pts) if moment.utc is None else f"{moment.utc.astimezone():%H:%M:%S}"


@dataclass(slots=True)
class PersonSummary:
    """One person (or all unknown ones) in one source.

    Attributes:
        best: the sighting with the highest similarity, of equal ones the surest; ``picture`` is
            its file.
        spans: start and end of the first few sightings, in words.
        reasons: why they are unknown.
        ambiguous: between whom, by name.
        group: number of an unknown person, the same in all sources; see `SummarySink.grouped`.
        ids: of the sightings of a group.
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
    ambiguous: Counter[tuple[str, ...]] = field(default_factory=Counter)
    group: int | None = None
    ids: list[str] = field(default_factory=list)

    def add(self, event: Left, picture: Path | None, span: str) -> None:
        """Count a sighting."""
        self.count += 1
        self.seconds += event.end.pts - event.start.pts
        if len(self.spans) < SPANS_SHOWN:
            self.spans.append(span)
        if event.reason is not None:
            self.reasons[event.reason] += 1
        if event.candidates:
            # In a fixed order: either may be the more similar one.
            self.ambiguous[tuple(sorted(one.name for one in event.candidates))] += 1
        if self.count == 1 or _rank(event) > _rank(self.best):
            self.best = event
            self.picture = picture or self.picture

    def group_dict(self) -> dict[str, Any]:
        """For JSON: of a group also its number and its sightings' ids."""
        return {"group": self.group, **self.to_dict(), "sighting_ids": self.ids}

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
            "ambiguous": [
                {"names": names, "sightings": count}
                for names, count in self.ambiguous.most_common()
            ],
        }


def _rank(event: Left) -> tuple[float, float]:
    return event.similarity, -(math.inf if event.uncertainty is None else event.uncertainty)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sighting without its picture's array, which would be kept alive."""

    event: Left
    picture: Path | None
    span: str


class SummarySink(Sink):
    """Counts sightings per source and person; memory grows with people, not with time.

    The embeddings of the first `GROUPED` unknown sightings are kept for `grouped`.

    Args:
        live: names of the sources whose times are those of the day.
        pictures_below: the folder that the events' picture paths are relative to.
    """

    on_error = "raise"

    def __init__(self, *, live: Collection[str] = (), pictures_below: Path | None = None) -> None:
        self._live = frozenset(live)
        self._below = pictures_below or Path()
        self._seen: dict[tuple[str, int | None], PersonSummary] = {}
        self._unknown: list[_Seen] = []

    def event(self, event: Event) -> None:
        if not isinstance(event, Left):
            return
        picture = None if event.picture is None else self._below / event.picture
        seen = _Seen(event.with_image(None), picture, self._span(event))
        _gather(self._seen, (event.source, event.person_id), seen)
        if event.person_id is None and len(self._unknown) < GROUPED:
            self._unknown.append(seen)

    def _span(self, event: Left) -> str:
        if event.file is not None:
            return Path(event.file).name
        if event.source in self._live:
            start, end = _time_of(event.start), _time_of(event.end)
        else:
            start, end = clock(event.start.pts), clock(event.end.pts)
        return start if start == end else f"{start}–{end}"

    @property
    def ungrouped(self) -> int:
        """Unknown sightings that were too many to be grouped."""
        unknown = sum(row.count for row in self._seen.values() if row.person_id is None)
        return unknown - len(self._unknown)

    def people(self) -> list[PersonSummary]:
        """Those with a name first, then the unknown; within that by source and time seen."""
        return sorted(
            self._seen.values(), key=lambda s: (s.person_id is None, s.source, -s.seconds)
        )

    def grouped(self, rule: GroupingRule) -> list[PersonSummary]:
        """The unknown people, a row for each and each source; the one seen longest is number 1.

        The last rows, without a group, are of faces that show too little to be compared.
        """
        found = group_sightings([seen.event for seen in self._unknown], rule)
        total: dict[int, float] = defaultdict(float)
        for seen, group in zip(self._unknown, found.tolist(), strict=True):
            total[group] += seen.event.end.pts - seen.event.start.pts
        longest = sorted(total.keys() - {ALONE}, key=lambda group: (-total[group], group))
        numbers = {group: number for number, group in enumerate(longest, start=1)}
        rows: dict[tuple[str, int | None], PersonSummary] = {}
        for seen, group in zip(self._unknown, found.tolist(), strict=True):
            row = _gather(rows, (seen.event.source, numbers.get(group)), seen)
            row.group = numbers.get(group)
            row.ids.append(seen.event.sighting)
        return sorted(rows.values(), key=lambda row: (row.group or math.inf, row.source))


def _gather(
    rows: dict[tuple[str, int | None], PersonSummary], key: tuple[str, int | None], seen: _Seen
) -> PersonSummary:
    event = seen.event
    row = rows.get(key)
    if row is None:
        row = rows[key] = PersonSummary(event.source, event.name, event.person_id, event)
    row.add(event, seen.picture, seen.span)
    return row


def people_table(people: Sequence[PersonSummary], *, faces: int = 0) -> PeopleTable | str:
    """The table of who was seen; without anybody what became of the ``faces`` that were found."""
    if people:
        return PeopleTable(people)
    if faces:
        brief = "each seen too briefly" if faces > 1 else "seen too briefly"
        return f"{plural(faces, 'face')}, {brief} (fewer than tracking.min_faces times)."
    return "Nobody was seen."


@dataclass(frozen=True, slots=True)
class PeopleTable:
    """The table of who was seen; where its pictures do not fit, they are listed below it."""

    people: Sequence[PersonSummary]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pictures = [seen for seen in self.people if seen.picture is not None]
        whole = _people_table(self.people, pictures=bool(pictures))
        wide = Measurement.get(console, options.update(width=_UNBOUND), whole).maximum
        if not pictures or wide <= options.max_width:
            yield whole
            return
        yield _people_table(self.people, pictures=False)
        for seen in pictures:
            line = Text(f"{_label(seen)}: ", no_wrap=True, overflow="ignore")
            yield line.append(_short(seen.picture))


def _people_table(people: Sequence[PersonSummary], *, pictures: bool) -> Table:
    several = len({seen.source for seen in people}) > 1
    compared = any(seen.best.reason != "no_gallery" for seen in people)
    numeric = ("Times", *(["Similarity"] if compared else []), "σ")
    shown = table(
        *("Who", *(["Source"] if several else [])),
        *("When", *numeric, *(["Picture"] if pictures else [])),
        title="Who was seen",
        right=numeric,
    )
    shown.columns[0].style = "bold"
    shown.columns[2 if several else 1].max_width = 28
    for seen in people:
        who = Text(_label(seen), style="yellow" if seen.person_id is None else "green")
        if reasons := _reasons(seen):
            who.append(f" ({', '.join(reasons)})")
        more = seen.count - len(seen.spans)
        best, sigma = seen.best, seen.best.uncertainty
        similarity = "–" if best.reason == "no_gallery" else f"{best.similarity:.2f}"
        cells = [
            *([seen.source] if several else []),
            ", ".join(seen.spans) + (f" and {more} more" if more else ""),
            str(seen.count),
            *([similarity] if compared else []),
            "–" if sigma is None else f"{sigma:.2f}",
            *([_short(seen.picture)] if pictures and seen.picture is not None else []),
        ]
        shown.add_row(who, *map(Text, cells))
    return shown


def _reasons(seen: PersonSummary) -> list[str]:
    pairs = seen.ambiguous.most_common(1)
    names = pairs[0][0] if pairs else ()
    reasons = [reason for reason, _ in seen.reasons.most_common(2)]
    if reasons == ["no_gallery"]:
        # One line says for all that there is no gallery; a face without a group shows too little.
        return ["uncertain"] if seen.group is None else []
    if names and "ambiguous" not in reasons:
        reasons.append("ambiguous")
    return [reason_in_words(reason, names) for reason in reasons]


def reason_in_words(reason: str, names: Sequence[str]) -> str:
    """``below threshold``, ``ambiguous: Ann or Bob``."""
    words = reason.replace("_", " ")
    return f"{words}: {' or '.join(names)}" if names and reason == "ambiguous" else words


def _label(seen: PersonSummary) -> str:
    return seen.name if seen.group is None else f"person {seen.group}"


def _short(path: Path | None) -> str:
    """From the working folder where it lies below it."""
    if path is None:
        return ""
    with suppress(OSError, ValueError):  # the working folder was deleted, or is another
        return str(path.relative_to(Path.cwd()))
    return str(path)
