"""Queries of people, and the record of those who were merged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ..core.errors import PersonNotFound
from ..storage.names import name_key, shortened, suggestions
from ..storage.schema import MetaRow, PersonRow, PhotoRow
from .notes import aside_counts, aside_ids
from .records import MergedPerson, Person
from .templates import read_templates

# People, and photos of each, that a message names.
_NAMED = 5
# ``meta`` has a row for each person who was merged into another: the key ends with their id, the
# value is the other's id, the time and the former name.
_MERGED, _END = "merged/", "merged0"  # "0" is the character after "/"


def read_people(session: Session, person_id: int | None = None) -> Iterator[Person]:
    """All people, or one, with the number of photos."""
    merged: dict[int, list[MergedPerson]] = {}
    for keep, person in _merged(session):
        merged.setdefault(keep, []).append(person)
    query = (
        select(PersonRow.id, PersonRow.name, PersonRow.created_at, func.count(PhotoRow.id))
        .outerjoin(PersonRow.photos)
        .group_by(PersonRow.id)
    )
    if person_id is not None:
        query = query.where(PersonRow.id == person_id)
    aside = aside_counts(session, person_id)
    for row in session.execute(query):
        merged_in = tuple(merged.get(row.id, ()))
        yield Person(*row, merged=merged_in, aside=aside.get(row.id, 0))


def owner_of(session: Session, sha256: str) -> Person | None:
    """The person who has this photo."""
    found = session.scalar(select(PhotoRow.person_id).where(PhotoRow.sha256 == sha256))
    return None if found is None else next(read_people(session, found))


def lookup(session: Session, name: str) -> PersonRow | None:
    """By the key. The migration 0003 appended a line to keys that two people had: of these the
    exact name decides."""
    key = name_key(name)
    same_key = PersonRow.name_key.between(key, f"{key}\n\U0010ffff")
    query = select(PersonRow).where(same_key).order_by(PersonRow.name != name, PersonRow.id)
    return session.scalars(query.limit(1)).first()


def find_or_make(session: Session, name: str) -> tuple[PersonRow, bool]:
    """Like ``lookup``, but makes the person where there is none; and whether it did."""
    row = lookup(session, name)
    if row is not None:
        return row, False
    row = PersonRow(name=name, name_key=name_key(name), created_at=datetime.now(UTC))
    session.add(row)
    session.flush()
    return row, True


def find(session: Session, name: str) -> PersonRow:
    """Like ``lookup``, but raises ``PersonNotFound``, which suggests similar names."""
    row = lookup(session, name)
    if row is not None:
        return row
    known = list(session.scalars(select(PersonRow.name)))
    if not known:
        hint = "the gallery is empty"
    elif near := suggestions(name, known):
        hint = "did you mean " + " or ".join(f"'{other}'" for other in near) + "?"
    else:
        hint = "'facestream gallery list' shows who is there"
    raise PersonNotFound(f"there is nobody called '{shortened(name)}' in the gallery; {hint}")


def without_embedding(session: Session, model_id: str) -> list[int]:
    """Photos of which a model has no embedding that can be used."""
    photos = session.scalars(select(PhotoRow.id).order_by(PhotoRow.id))
    embedded = set(read_templates(session, model_id, columns="both").photo_ids.tolist())
    return [photo for photo in photos if photo not in embedded]


def left_out(session: Session, embedded: Collection[int]) -> dict[str, list[int]]:
    """The photos of each person that are neither in ``embedded`` nor set aside, by name; empty
    where all are."""
    total = session.scalar(select(func.count()).select_from(PhotoRow))
    there = {*embedded, *aside_ids(session).tolist()}
    if total == len(there):
        return {}
    rows = session.execute(
        select(PersonRow.name, PhotoRow.id)
        .join(PhotoRow, PhotoRow.person_id == PersonRow.id)
        .order_by(PersonRow.id, PhotoRow.id)
    )
    found: dict[str, list[int]] = {}
    for name, photo in rows:
        if photo not in there:
            found.setdefault(name, []).append(photo)
    return found


def describe_left_out(photos: Mapping[str, Sequence[int]]) -> str:
    """What is said of photos that are not searched."""
    total = sum(map(len, photos.values()))
    named = []
    for name, ids in list(photos.items())[:_NAMED]:
        more = " …" if len(ids) > _NAMED else ""
        named.append(f"{', '.join(map(str, ids[:_NAMED]))}{more} of '{shortened(name)}'")
    if len(photos) > _NAMED:
        named.append(f"those of {len(photos) - _NAMED} more people")
    have = "photo is left out, as its embedding is"
    if total > 1:
        have = "photos are left out, as their embeddings are"
    return f"{total} {have} missing, damaged or of another model (photo {'; '.join(named)})"


def note_merged(session: Session, keep: int, gone: PersonRow) -> None:
    """Record that a person, and all who were merged into it, are ``keep`` now."""
    for owner, person in list(_merged(session)):
        if owner == gone.id:
            _note(session, keep, person)
    _note(session, keep, MergedPerson(gone.id, gone.name, datetime.now(UTC)))


def forget_merged(session: Session, person: int, *, formers: Sequence[int]) -> str | None:
    """Undo ``note_merged``; returns the person's name, None where there is no record.

    ``formers`` are those who had been merged into that person before.
    """
    record = session.get(MetaRow, _key(person))
    if record is None:
        return None
    name: str = record.value.split(" ", 2)[2]
    for former in formers:
        row = session.get(MetaRow, _key(former))
        if row is not None:
            row.value = f"{person} {row.value.split(' ', 1)[1]}"
    session.delete(record)
    session.flush()
    return name


def forget(session: Session, person: Person) -> None:
    """Remove the record of those who were merged into a person."""
    keys = [_key(merged.id) for merged in person.merged]
    session.execute(delete(MetaRow).where(MetaRow.key.in_(keys)))


def _merged(session: Session) -> Iterator[tuple[int, MergedPerson]]:
    rows = session.execute(
        select(MetaRow.key, MetaRow.value)
        .where(MetaRow.key >= _MERGED, MetaRow.key < _END)
        .order_by(MetaRow.key)
    )
    for key, value in rows:
        keep, at, name = value.split(" ", 2)
        person = MergedPerson(int(key.removeprefix(_MERGED)), name, datetime.fromisoformat(at))
        yield int(keep), person


def _note(session: Session, keep: int, person: MergedPerson) -> None:
    value = f"{keep} {person.at.isoformat()} {person.name}"
    session.merge(MetaRow(key=_key(person.id), value=value))


def _key(person_id: int) -> str:
    return f"{_MERGED}{person_id:015d}"
