"""Who was there on a day: a page, or a mail with the same page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import Final

from ..core.errors import UsageError
from ..sightings import Sighting, SightingFilter, Sightings
from .pages import item, page, picture_url
from .rows import all_sightings

log = logging.getLogger(__name__)

MOST_UNNAMED: Final = 24
Address = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person on a day.

    Attributes:
        first, last: of this machine's zone.
        sources: cameras and videos, in alphabetical order.
        best: the sighting that is shown.
    """

    name: str
    first: datetime
    last: datetime
    sources: tuple[str, ...]
    sightings: int
    best: Sighting


@dataclass(frozen=True, slots=True)
class Digest:
    """A day.

    Attributes:
        people: with a name, the first to come first.
        unnamed: sightings without a name, the newest first, `MOST_UNNAMED` at most.
        unnamed_count: how many there are.
    """

    day: date
    people: tuple[Visitor, ...]
    unnamed: tuple[Sighting, ...]
    unnamed_count: int

    @property
    def title(self) -> str:
        """What the page and the mail are called."""
        return f"Who was seen on {self.day:%A, %Y-%m-%d}"

    @property
    def headline(self) -> str:
        """The day in a sentence."""
        people, unnamed = len(self.people), self.unnamed_count
        faces = "one face" if unnamed == 1 else f"{unnamed:,} faces"
        who = "Nobody known" if not people else "1 person" if people == 1 else f"{people:,} people"
        return f"{who}, and {faces} without a name."


def digest_of(sightings: Sightings, day: date, *, sources: tuple[str, ...] | None = None) -> Digest:
    """What was seen on a day of this machine's zone.

    Args:
        sources: cameras and videos; None: all.

    Raises:
        UsageError: the day is out of range.
    """
    if not 1970 <= day.year < 9000:
        raise UsageError(f"the day {day} is out of range")
    since, until = (
        datetime.combine(one, time()).astimezone() for one in (day, day + timedelta(days=1))
    )
    people: dict[int, list[Sighting]] = {}
    unnamed: list[Sighting] = []
    count = 0
    for one in all_sightings(sightings, SightingFilter(sources=sources, since=since, until=until)):
        if one.start is None or one.ignored:
            continue
        if one.person_id is not None:
            people.setdefault(one.person_id, []).append(one)
            continue
        count += 1
        if len(unnamed) < MOST_UNNAMED:
            unnamed.append(one)
    visitors = sorted(map(_visitor, people.values()), key=lambda one: (one.first, one.name))
    return Digest(day, tuple(visitors), tuple(unnamed), count)


def digest_page(digest: Digest, sightings: Sightings) -> bytes:
    """The day as an HTML file with its pictures in it."""
    return page(digest.title, digest.headline, _items(digest, sightings, picture_url))


def digest_mail(
    digest: Digest, sightings: Sightings, *, sender: str = "facestream@localhost", to: str = ""
) -> bytes:
    """The day as a mail file (RFC 5322), whose pictures are parts of it."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = digest.title
    mail["From"] = sender
    if to:
        mail["To"] = to
    mail["Date"] = format_datetime(datetime.now().astimezone())
    mail["Message-ID"] = make_msgid(domain="facestream.invalid")
    mail.set_content("\n".join([digest.headline, "", *map(_line, digest.people)]) + "\n")
    pictures: list[tuple[str, bytes]] = []

    def attached(data: bytes) -> str:
        name = make_msgid(domain="facestream.invalid")
        pictures.append((name, data))
        return f"cid:{name[1:-1]}"

    shown = page(digest.title, digest.headline, _items(digest, sightings, attached)).decode()
    mail.add_alternative(shown, subtype="html")
    related = list(mail.iter_parts())[1]
    for name, data in pictures:
        related.add_related(data, "image", "jpeg", cid=name)
    return mail.as_bytes()


def _visitor(found: list[Sighting]) -> Visitor:
    starts = [_local(one.start) for one in found]
    ends = [_local(one.end or one.start) for one in found]
    sources = tuple(sorted({one.source for one in found}))
    best = max(found, key=lambda one: (bool(one.pictures), one.similarity))
    return Visitor(found[0].name, min(starts), max(ends), sources, len(found), best)


def _items(digest: Digest, sightings: Sightings, address: Address) -> Iterator[str]:
    for who in digest.people:
        times = "once" if who.sightings == 1 else f"{who.sightings:,} times"
        lines = [_span(who), ", ".join(who.sources), f"seen {times}"]
        yield item([_picture(who.best, sightings, address)], who.name, *lines)
    for one in digest.unnamed:
        when = f"{_local(one.start):%H:%M}"
        yield item([_picture(one, sightings, address)], f"unknown, {when}", one.source)


def _picture(one: Sighting, sightings: Sightings, address: Address) -> str | None:
    try:
        data = sightings.picture(one.id, "frame")
    except OSError as error:
        log.warning("a picture of %s is left out: %s", one.source, error.strerror)
        return None
    return None if data is None else address(data)


def _line(who: Visitor) -> str:
    return f"{who.name}: {_span(who)}, {', '.join(who.sources)}"


def _span(who: Visitor) -> str:
    return f"{who.first:%H:%M} to {who.last:%H:%M}"


def _local(at: datetime | None) -> datetime:
    if at is None:
        raise ValueError("a sighting without a time is on no day")
    return at.astimezone()
