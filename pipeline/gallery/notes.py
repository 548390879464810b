"""What is noted of photos: set aside, dates, and the sighting a face was learned from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ..core.errors import GalleryError
from ..storage.database import chunks
from ..storage.names import shortened
from ..storage.schema import PersonRow, PhotoNoteRow, PhotoRow
from .records import NO_NOTES, FaceOrigin, Photo, PhotoNotes
from .templates import Ids, Templates, take_rows

_COLUMNS = ("aside_at", "aside_reason", "taken_at", "valid_from", "valid_until")


@dataclass(frozen=True, slots=True, eq=False)
class Validity:
    """The photos that take part in recognition only for some time.

    Attributes:
        photo_ids: V int64, ascending.
        start: V float64, seconds since the epoch; −inf: since ever.
        end: V float64, exclusive; inf: for ever.
    """

    photo_ids: Ids
    start: NDArray[np.float64]
    end: NDArray[np.float64]

    def outside(self, photo_ids: Ids, at: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which photos (N×K) take no part at these times (N)."""
        place = np.searchsorted(self.photo_ids, photo_ids).clip(max=len(self.photo_ids) - 1)
        moment = at[:, None]
        past = (moment < self.start[place]) | (moment >= self.end[place])
        found: NDArray[np.bool_] = (self.photo_ids[place] == photo_ids) & past
        return found


ALWAYS = Validity(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
"""No photo has dates."""


def read_validity(session: Session) -> Validity:
    """The photos with a first or a last day."""
    rows = session.execute(
        select(PhotoNoteRow.photo_id, PhotoNoteRow.valid_from, PhotoNoteRow.valid_until)
        .where(PhotoNoteRow.valid_from.is_not(None) | PhotoNoteRow.valid_until.is_not(None))
        .order_by(PhotoNoteRow.photo_id)
    ).all()
    if not rows:
        return ALWAYS
    ids, starts, ends = zip(*rows, strict=True)
    return Validity(np.array(ids, np.int64), _seconds(starts, -np.inf), _seconds(ends, np.inf))


def _seconds(times: Sequence[datetime | None], missing: float) -> NDArray[np.float64]:
    return np.array([missing if at is None else at.timestamp() for at in times])


def aside_ids(session: Session) -> Ids:
    """The photos that are set aside, ascending."""
    found = session.scalars(
        select(PhotoNoteRow.photo_id)
        .where(PhotoNoteRow.aside_at.is_not(None))
        .order_by(PhotoNoteRow.photo_id)
    )
    return np.array(list(found), np.int64)


def without_aside(session: Session, templates: Templates) -> Templates:
    """The templates of photos that are not set aside."""
    aside = aside_ids(session)
    if not len(aside):
        return templates
    kept = ~np.isin(templates.photo_ids, aside)
    return templates if kept.all() else take_rows(templates, kept)


def aside_counts(session: Session, person_id: int | None = None) -> dict[int, int]:
    """How many photos are set aside, of people who have any, by their id."""
    query = (
        select(PhotoRow.person_id, func.count())
        .join(PhotoNoteRow, PhotoNoteRow.photo_id == PhotoRow.id)
        .where(PhotoNoteRow.aside_at.is_not(None))
        .group_by(PhotoRow.person_id)
    )
    if person_id is not None:
        query = query.where(PhotoRow.person_id == person_id)
    return {row[0]: row[1] for row in session.execute(query)}


def read_notes(session: Session, photo_ids: Collection[int]) -> dict[int, PhotoNotes]:
    """The notes of those of these photos that have any, by photo."""
    found = {}
    for some in chunks(sorted(photo_ids)):
        query = select(PhotoNoteRow).where(PhotoNoteRow.photo_id.in_(some))
        for row in session.scalars(query):
            origin = None
            if row.sighting is not None:
                origin = FaceOrigin(row.sighting, row.source or "", row.seen_at)
            found[row.photo_id] = PhotoNotes(
                **{name: getattr(row, name) for name in _COLUMNS}, origin=origin
            )
    return found


def read_photos(session: Session, person: PersonRow) -> list[Photo]:
    """A person's photos with their notes, oldest first."""
    names = [field.name for field in fields(Photo) if field.name != "notes"]
    notes = read_notes(session, [row.id for row in person.photos])
    return [
        Photo(**{name: getattr(row, name) for name in names}, notes=notes.get(row.id, NO_NOTES))
        for row in person.photos
    ]


def write_notes(session: Session, photo_id: int, notes: PhotoNotes) -> None:
    """Store the notes of a photo instead of those it had."""
    if notes.empty and session.get(PhotoNoteRow, photo_id) is None:
        return
    origin = notes.origin
    session.merge(
        PhotoNoteRow(
            photo_id=photo_id,
            **{name: getattr(notes, name) for name in _COLUMNS},
            sighting=None if origin is None else origin.sighting,
            source=None if origin is None else origin.source,
            seen_at=None if origin is None else origin.at,
        )
    )


def mark_aside(session: Session, photo_ids: Sequence[int], reason: str) -> list[int]:
    """Set photos aside; returns those that were not."""
    return list(_changed(session, photo_ids, at=datetime.now(UTC), reason=reason))


def unmark_aside(session: Session, photo_ids: Sequence[int]) -> list[int]:
    """Take photos back; returns those that were set aside."""
    return list(_changed(session, photo_ids, at=None, reason=None))


def _changed(
    session: Session, photo_ids: Sequence[int], *, at: datetime | None, reason: str | None
) -> Iterator[int]:
    for photo in photo_ids:
        row = session.get(PhotoNoteRow, photo)
        if row is None:
            row = PhotoNoteRow(photo_id=photo)
            session.add(row)
        if (row.aside_at is None) != (at is None):
            row.aside_at, row.aside_reason = at, reason
            yield photo


def photo_id_of(session: Session, wanted: str) -> int:
    """The photo with this number, path or file name, of anybody.

    Raises GalleryError if there is none, or several have the file name.
    """
    tries: list[ColumnElement[bool]] = [
        PhotoRow.path.in_([wanted, str(Path(wanted).absolute())]),
        PhotoRow.path.endswith(f"/{wanted}", autoescape=True),
    ]
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        tries.insert(0, PhotoRow.id == int(wanted))
    found: list[int] = []
    for condition in tries:
        found = list(session.scalars(select(PhotoRow.id).where(condition).limit(3)))
        if found:
            break
    if len(found) == 1:
        return found[0]
    count = "several photos" if found else "no photo"
    raise GalleryError(
        f"the gallery has {count} '{shortened(wanted)}'; give the number or the path that "
        "'facestream gallery show NAME' prints"
    )


def owners_of(session: Session, photo_ids: Collection[int]) -> dict[int, str]:
    """The name of the person of each photo."""
    rows = session.execute(
        select(PhotoRow.id, PersonRow.name)
        .join(PersonRow, PersonRow.id == PhotoRow.person_id)
        .where(PhotoRow.id.in_(sorted(photo_ids)))
    )
    return {row.id: row.name for row in rows}
