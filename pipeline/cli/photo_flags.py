"""Flags of photos that are enrolled, and what is noted of a photo in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..gallery import PhotoNotes

Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse photos that resemble another person more than their own, or none of the "
        "person's photos; else a warning names them.",
    ),
]
Taken = Annotated[
    str | None,
    typer.Option(
        "--taken", metavar="DATE", help="When the photos were taken. \\[what their EXIF says]"
    ),
]
ValidFrom = Annotated[
    str | None,
    typer.Option(
        "--valid-from",
        metavar="DATE",
        help="Faces that were seen earlier are not compared with these photos.",
    ),
]
ValidUntil = Annotated[
    str | None,
    typer.Option(
        "--valid-until", metavar="DATE", help="Nor are faces that were seen then or later."
    ),
]


def note_line(notes: PhotoNotes) -> str:
    """What is noted of a photo, in words; empty where nothing is."""
    from ..storage.names import printable

    parts = []
    if notes.aside_at is not None:
        why = f" ({printable(notes.aside_reason)})" if notes.aside_reason else ""
        parts.append(f"set aside on {notes.aside_at.astimezone():%Y-%m-%d}{why}")
    if (origin := notes.origin) is not None:
        when = "" if origin.at is None else f", {origin.at.astimezone():%Y-%m-%d %H:%M}"
        parts.append(
            f"learned from sighting {origin.sighting[:8]} ({printable(origin.source)}{when})"
        )
    elif notes.taken_at is not None:
        parts.append(f"taken on {notes.taken_at.astimezone():%Y-%m-%d}")
    for word, at in (("from", notes.valid_from), ("until", notes.valid_until)):
        if at is not None:
            parts.append(f"holds {word} {at.astimezone():%Y-%m-%d}")
    return ", ".join(parts)


def photo_dates(taken: str | None, valid_from: str | None, valid_until: str | None) -> PhotoNotes:
    """The dates of these flags; ``none`` is none.

    Raises:
        UsageError: one is no date.
        GalleryError: they contradict each other.
    """
    from ..gallery import PhotoNotes
    from .who import moment

    flags = {"--taken": taken, "--valid-from": valid_from, "--valid-until": valid_until}
    times = [None if text == "none" else moment(flag, text) for flag, text in flags.items()]
    dates = PhotoNotes(taken_at=times[0], valid_from=times[1], valid_until=times[2])
    dates.check()
    return dates
