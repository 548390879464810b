"""When a camera is read: spans of the week in its time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Literal, Self
from zoneinfo import ZoneInfo, available_timezones

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_SPAN = re.compile(r"(?:(?P<days>[a-z,\s-]+?)\s+)?(?P<start>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d)")
# A clock change can skip a span of a few hours; two weeks contain the next one.
_AHEAD = 15
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """A time span on some days of the week.

    Attributes:
        days: 0 (Monday) to 6 on which it starts.
        start: minutes after midnight.
        end: likewise, above ``start``; above 1440 it is on the next day.
    """

    days: frozenset[int]
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From e.g. ``mon-fri 07:00-19:00``, ``sat,sun 22:00-06:00`` or ``07:00-19:00``.

        Raises:
            ValueError: it is not a span.
        """
        found = _SPAN.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError(f"{text!r} is not a time span; write it like 'mon-fri 07:00-19:00'")
        start, end = _minutes(found["start"]), _minutes(found["end"])
        if start == _DAY:
            raise ValueError(f"{text!r} starts at 24:00; write 00:00 of the next day")
        if start == end:
            raise ValueError(f"{text!r} is empty; the whole day is 00:00-24:00")
        days = _days(found["days"]) if found["days"] else frozenset(range(7))
        return cls(days, start, end if end > start else end + _DAY)


class Schedule:
    """Spans of the week in which a camera is read.

    A span follows the local clock: where the clocks go back within it, it lasts from the first to
    the last of the two times; a skipped time counts as if the clocks had not changed yet. Spans
    that touch are joined.

    Args:
        spans: texts for `Span.parse`; none: always open.
        timezone: IANA name such as ``Europe/Berlin``; None is the machine's.

    Raises:
        ValueError: a span or the time zone is invalid.
    """

    def __init__(self, spans: Sequence[str], *, timezone: str | None = None) -> None:
        self._spans = tuple(Span.parse(text) for text in spans)
        self._zone = None if timezone is None else _zone(timezone)

    def open_at(self, when: datetime) -> bool:
        """True when the camera is read then; raises ValueError without a time zone."""
        moment = _utc(when)
        return not self._spans or any(start <= moment < end for start, end in self._open(moment))

    def next_change(self, when: datetime) -> datetime | None:
        """When `open_at` changes next, in UTC; None where it never does (always open).

        Raises:
            ValueError: ``when`` has no time zone.
        """
        moment = _utc(when)
        last = moment + timedelta(days=_AHEAD - 1)
        for start, end in self._open(moment):
            if start > moment:
                return start
            if moment < end:
                return end if end <= last else None
        return None

    def _open(self, moment: datetime) -> list[tuple[datetime, datetime]]:
        """The open times around and after a moment, sorted and disjoint."""
        today = (moment + timedelta(hours=14)).date() - timedelta(days=4)
        days = (today + timedelta(days=n) for n in range(_AHEAD + 5))
        found = sorted(part for day in days for part in self._of_day(day))
        joined: list[tuple[datetime, datetime]] = []
        for start, end in found:
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        return joined

    def _of_day(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        midnight = datetime.combine(day, time())
        for span in self._spans:
            if day.weekday() in span.days:
                start = self._instant(midnight + timedelta(minutes=span.start), "start")
                end = self._instant(midnight + timedelta(minutes=span.end), "end")
                if start < end:
                    yield start, end

    def _instant(self, local: datetime, bound: Literal["start", "end"]) -> datetime:
        """A local time in UTC; of two possible times a span ends with the later."""
        zoned = local.replace(tzinfo=self._zone)
        first = zoned.astimezone(UTC)
        return first if bound == "start" else max(first, zoned.replace(fold=1).astimezone(UTC))


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError("the moment needs a time zone, e.g. datetime.now(UTC)")
    return when.astimezone(UTC)


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY:
        raise ValueError(f"{text} is not a time of day (00:00 to 24:00)")
    return hours * 60 + minutes


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start = _day(first)
        end = _day(last) if dash else start
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)


def _day(word: str) -> int:
    found = [number for number, day in enumerate(DAYS) if len(word) >= 3 and day.startswith(word)]
    if not found:
        short = ", ".join(day[:3] for day in DAYS)
        raise ValueError(f"{word!r} is not a day of the week; they are {short}")
    return found[0]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        known = available_timezones()
        if not known:
            raise ValueError(
                f"the time zone {name!r} cannot be looked up: this system has no time zone data; "
                "install tzdata (apt-get install tzdata, or pip install tzdata)"
            ) from error
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; it is a name such as 'Europe/Berlin'"
        raise ValueError(f"there is no time zone {name!r}{hint}") from error
