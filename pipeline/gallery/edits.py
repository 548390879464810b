"""Changes of people inside a transaction: one photo out, two people into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from ..core.errors import GalleryError, PersonExists
from ..core.filenames import readable
from ..storage.history import RecordedChange, changing
from ..storage.names import name_key, printable
from ..storage.schema import PersonRow, PhotoRow, RejectionRow, SightingRow
from ..storage.vault import vault_of
from .calibrated import forget_in_calibration, share_ceiling
from .changes import log_change
from .crops import encode_crop, place_of_crop
from .notes import mark_aside, unmark_aside, write_notes
from .records import Embedded, Face, FaceOfPhoto, Person
from .rows import forget, forget_merged, lookup, note_merged, read_people
from .templates import assign_templates, erase_templates, write_templates


def insert_photo(session: Session, person_id: int, face: Face, embedded: Embedded) -> int:
    """Store a photo with its embedding; returns its id."""
    values = {field.name: getattr(face, field.name) for field in fields(FaceOfPhoto)}
    values["path"] = readable(face.path)
    crop = vault_of(session).seal(encode_crop(face.crop), *place_of_crop(face.sha256))
    photo = PhotoRow(person_id=person_id, crop=crop, created_at=datetime.now(UTC), **values)
    session.add(photo)
    session.flush()
    write_templates(
        session,
        embedded.model_id,
        np.array([photo.id], np.int64),
        np.array([person_id], np.int64),
        embedded.mu[None],
        embedded.logvar[None],
    )
    write_notes(session, photo.id, face.notes)
    return photo.id


def remove_person(session: Session, person: Person) -> int:
    """See ``Store.remove``; returns how many photos there were."""
    photos = list(session.scalars(select(PhotoRow.id).where(PhotoRow.person_id == person.id)))
    erase_templates(session, np.array(photos, np.int64))
    session.flush()
    leave_sightings(session, person.id)
    session.execute(delete(PersonRow).where(PersonRow.id == person.id))
    forget(session, person)
    gone = {person.id, *(one.id for one in person.merged)}
    forget_in_calibration(session.connection(), gone)
    log_change(session, "removed", person.id)
    return len(photos)


def remove_photos(session: Session, person: PersonRow, photo_ids: Sequence[int]) -> Person:
    """See ``Store.remove_photos``."""
    theirs = [photo.id for photo in person.photos]
    gone = sorted(set(photo_ids) & set(theirs))
    if len(gone) == len(theirs):
        raise GalleryError(
            f"no photo of '{printable(person.name)}' would be left; to remove the person leave "
            "out --photo"
        )
    erase_templates(session, np.array(gone, np.int64))
    session.execute(delete(PhotoRow).where(PhotoRow.id.in_(gone)))
    for photo in gone:
        log_change(session, "photo_removed", photo)
    return next(read_people(session, person.id))


def merge(session: Session, keep: PersonRow, gone: PersonRow) -> Person:
    """See ``Store.merge``."""
    if keep.id == gone.id:
        raise GalleryError(
            f"'{printable(keep.name)}' cannot be merged with itself: both names are one person "
            "already"
        )
    text = f"merged {{{gone.id}}} into {{{keep.id}}}"
    with changing(session.connection(), "people_merged", text) as change:
        _note_person(session, change, keep, gone)
        photos = [photo.id for photo in gone.photos]
        _move_photos(session, change, photos, gone.id, keep.id)
        rows = select(SightingRow.id).where(SightingRow.person_id == gone.id)
        moved = {row: {"person_id": keep.id} for row in session.scalars(rows)}
        change.decide(moved, cause=text)
        _move_rejections(session, change, gone.id, keep.id)
        share_ceiling(session.connection(), gone.id, keep.id)
    note_merged(session, keep.id, gone)
    session.execute(delete(PersonRow).where(PersonRow.id == gone.id))
    log_change(session, "merged", keep.id)
    return next(read_people(session, keep.id))


def set_aside(session: Session, photo_ids: Sequence[int], reason: str) -> list[int]:
    """See ``Store.set_aside``."""
    changed = mark_aside(session, photo_ids, reason)
    for photo in changed:
        log_change(session, "photo_removed", photo)  # for an index it is the same
    return changed


def restore(session: Session, photo_ids: Sequence[int]) -> list[int]:
    """See ``Store.restore_photos``."""
    changed = unmark_aside(session, photo_ids)
    for photo in changed:
        log_change(session, "restored", photo)
    return changed


def unmerge(
    session: Session, person: int, keep: int, *, created_at: datetime, formers: Sequence[int]
) -> None:
    """Make a person again who was merged into ``keep``, with those who were merged into them.

    Nothing is done where ``keep`` was removed, and with it all that was known of the person.

    Raises GalleryError if somebody else has the name now.
    """
    name = forget_merged(session, person, formers=formers)
    if name is None:
        return
    other = lookup(session, name)
    if other is not None:
        raise GalleryError(
            f"'{printable(name)}' cannot be made again: another person is called so now; rename "
            "that person first"
        )
    session.add(PersonRow(id=person, name=name, name_key=name_key(name), created_at=created_at))
    session.flush()
    log_change(session, "added", person)


def split(
    session: Session, change: RecordedChange, person: PersonRow, photo_ids: Sequence[int], name: str
) -> PersonRow:
    """Give some photos of a person to a new one of this name.

    Raises:
        PersonExists: somebody has the name.
        GalleryError: no photo of the person would be left, or none was given.
    """
    theirs = {photo.id for photo in person.photos}
    moved = sorted(set(photo_ids) & theirs)
    if not moved or len(moved) == len(theirs):
        raise GalleryError(
            f"give some of the photos of '{printable(person.name)}', and not all: to give the "
            "person another name there is 'facestream gallery rename'"
        )
    if lookup(session, name) is not None:
        raise PersonExists(f"there is already a person called '{printable(name)}'")
    made = PersonRow(name=name, name_key=name_key(name), created_at=datetime.now(UTC))
    session.add(made)
    session.flush()
    change.steps.append({"undo": "new_person", "id": made.id})
    _move_photos(session, change, moved, person.id, made.id)
    share_ceiling(session.connection(), person.id, made.id)
    log_change(session, "merged", made.id)  # photos went to another person
    return made


def leave_sightings(session: Session, person: int) -> None:
    """The sightings of a person who is removed have no name any more, also by a human."""
    rows = list(session.scalars(select(SightingRow.id).where(SightingRow.person_id == person)))
    if not rows:
        return
    text = f"removed {{{person}}}"
    gone = {"person_id": None, "verdict": "unsure", "reason": "removed", "fixed": None}
    with changing(session.connection(), "person_removed", text) as change:
        change.decide(dict.fromkeys(rows, gone), cause=text)


def _note_person(
    session: Session, change: RecordedChange, keep: PersonRow, gone: PersonRow
) -> None:
    change.steps.append(
        {
            "undo": "person",
            "id": gone.id,
            "into": keep.id,
            "created_at": gone.created_at.isoformat(),
            "formers": [one.id for one in next(read_people(session, gone.id)).merged],
        }
    )


def _move_photos(
    session: Session, change: RecordedChange, photos: Sequence[int], old: int, new: int
) -> None:
    assign_templates(session, np.array(photos, np.int64), new)
    session.execute(update(PhotoRow).where(PhotoRow.id.in_(photos)).values(person_id=new))
    change.steps.append({"undo": "photos", "ids": list(photos), "person": old})


def _move_rejections(session: Session, change: RecordedChange, old: int, new: int) -> None:
    """Who is not the one is not the other."""
    of = {
        person: set(
            session.scalars(
                select(RejectionRow.sighting_id).where(RejectionRow.person_id == person)
            )
        )
        for person in (old, new)
    }
    added = sorted(of[old] - of[new])
    for sighting in added:
        key = {"person_id": new, "sighting_id": sighting}
        session.execute(insert(RejectionRow).values(key))
    if of[old]:
        change.steps.append(
            {
                "undo": "rejections",
                "person": old,
                "into": new,
                "moved": sorted(of[old]),
                "added": added,
            }
        )
