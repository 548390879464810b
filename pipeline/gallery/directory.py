"""People by their ids, page by page: for services, where names may change between two requests.

Each change is one transaction. ``expected`` is called in it with the person as it is, and may raise
to leave all as it was.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ..core.errors import PersonExists, PersonNotFound, UsageError
from ..storage.names import name_key, normalise_name, printable
from ..storage.schema import PersonRow, PhotoRow
from . import edits
from .changes import log_change
from .crops import opened_crop
from .edits import merge, remove_photos
from .notes import read_photos
from .records import Person, Photo
from .rows import lookup, read_people
from .store import Store

Expected = Callable[[Person], None]


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """Some people by name, and where the next page begins; ``cursor`` None: these are the last."""

    people: tuple[Person, ...]
    cursor: str | None


def people_page(
    store: Store, *, limit: int, cursor: str | None = None, search: str = ""
) -> PeoplePage:
    """People whose names contain ``search``, in any letter case.

    Raises:
        UsageError: the cursor is none of ours.
    """
    query = select(PersonRow.id, PersonRow.name_key).order_by(PersonRow.name_key, PersonRow.id)
    if search:
        query = query.where(PersonRow.name_key.contains(name_key(search), autoescape=True))
    if cursor is not None:
        key, last = _decode(cursor)
        later = (PersonRow.name_key == key) & (PersonRow.id > last)
        query = query.where(or_(PersonRow.name_key > key, later))
    with store._read() as session:
        rows = session.execute(query.limit(limit + 1)).all()
        shown = rows[:limit]
        people = tuple(next(read_people(session, row.id)) for row in shown)
    more = len(rows) > limit
    return PeoplePage(people, _encode(shown[-1].name_key, shown[-1].id) if more else None)


def count_people(store: Store) -> int:
    """How many people there are."""
    with store._read() as session:
        return session.scalar(select(func.count()).select_from(PersonRow)) or 0


def people_names(store: Store, *, limit: int) -> list[str]:
    """The first names in the order of names."""
    query = select(PersonRow.name).order_by(PersonRow.name_key, PersonRow.id).limit(limit)
    with store._read() as session:
        return list(session.scalars(query))


def person_by_id(store: Store, person_id: int) -> Person:
    """One person.

    Raises:
        PersonNotFound: there is none with this id.
    """
    with store._read() as session:
        return _person(session, person_id)


def create_person(store: Store, name: str) -> Person:
    """A person without photos, who is found once there are some.

    Raises:
        PersonExists: somebody has this name.
        GalleryError: it cannot be a name.
    """
    name = normalise_name(name)
    with store._write() as session:
        _refuse_taken(session, name, None)
        row = PersonRow(name=name, name_key=name_key(name), created_at=datetime.now(UTC))
        session.add(row)
        session.flush()
        log_change(session, "added", row.id)
        return _person(session, row.id)


def rename_person(
    store: Store, person_id: int, name: str, *, expected: Expected | None = None
) -> Person:
    """Give a person another name.

    Raises:
        PersonNotFound, PersonExists, GalleryError: as `create_person` and `person_by_id`.
    """
    name = normalise_name(name)
    with store._erase() as session:
        row = _row(session, person_id, expected)
        _refuse_taken(session, name, person_id)
        row.name, row.name_key = name, name_key(name)
        log_change(session, "renamed", person_id)
        session.flush()
        return _person(session, person_id)


def remove_person(store: Store, person_id: int, *, expected: Expected | None = None) -> Person:
    """Remove a person with all photos and embeddings, whose bytes are overwritten."""
    with store._erase() as session:
        _row(session, person_id, expected)
        person = _person(session, person_id)
        edits.remove_person(session, person)
        return person


def merge_people(store: Store, keep: int, gone: int, *, expected: Expected | None = None) -> Person:
    """Make two people one, see `Store.merge`."""
    with store._erase() as session:
        return merge(session, _row(session, keep, expected), _row(session, gone, None))


def photos_of(store: Store, person_id: int) -> list[Photo]:
    """A person's photos, oldest first."""
    with store._read() as session:
        return read_photos(session, _row(session, person_id, None))


def photo_crop(store: Store, person_id: int, photo_id: int) -> bytes:
    """The aligned face of a photo: PNG, 112×112.

    Raises:
        PersonNotFound: there is no such photo of this person.
    """
    query = select(PhotoRow.crop, PhotoRow.sha256)
    query = query.where(PhotoRow.id == photo_id, PhotoRow.person_id == person_id)
    with store._read() as session:
        row = session.execute(query).first()
        if row is None:
            raise PersonNotFound(f"person {person_id} has no photo {photo_id}")
        return opened_crop(session, row)


def remove_photo(store: Store, person_id: int, photo_id: int) -> Person:
    """Remove one photo and its embedding, whose bytes are overwritten.

    Raises:
        PersonNotFound: there is no such photo of this person.
        GalleryError: it is the last one.
    """
    with store._erase() as session:
        row = _row(session, person_id, None)
        if photo_id not in [photo.id for photo in row.photos]:
            raise PersonNotFound(f"person {person_id} has no photo {photo_id}")
        return remove_photos(session, row, [photo_id])


def first_photos(store: Store, person_ids: list[int]) -> dict[int, int]:
    """The oldest photo of each of these people who has one, by person."""
    query = (
        select(PhotoRow.person_id, func.min(PhotoRow.id))
        .where(PhotoRow.person_id.in_(person_ids))
        .group_by(PhotoRow.person_id)
    )
    with store._read() as session:
        return {row[0]: row[1] for row in session.execute(query)}


def photo_ids(store: Store, sha256s: list[str]) -> dict[str, int]:
    """The ids of the photos with these checksums."""
    query = select(PhotoRow.sha256, PhotoRow.id).where(PhotoRow.sha256.in_(sha256s))
    with store._read() as session:
        return {row.sha256: row.id for row in session.execute(query)}


def _row(session: Session, person_id: int, expected: Expected | None) -> PersonRow:
    row = session.get(PersonRow, person_id)
    if row is None:
        raise PersonNotFound(f"there is no person {person_id}")
    if expected is not None:
        expected(_person(session, person_id))
    return row


def _person(session: Session, person_id: int) -> Person:
    person = next(read_people(session, person_id), None)
    if person is None:
        raise PersonNotFound(f"there is no person {person_id}")
    return person


def _refuse_taken(session: Session, name: str, person_id: int | None) -> None:
    other = lookup(session, name)
    if other is not None and other.id != person_id:
        raise PersonExists(
            f"there is already a person called '{printable(other.name)}' (id {other.id}); choose "
            "another name, or merge the two"
        )


def _encode(key: str, person_id: int) -> str:
    return base64.urlsafe_b64encode(f"{person_id} {key}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[str, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        last, _, key = text.partition(" ")
        return key, int(last)
    except (ValueError, binascii.Error) as error:
        raise UsageError("the cursor is not one of a page of people; begin anew") from error
