"""Changes of people inside a transaction: one photo out, two people into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from ..core.errors import GalleryError
from ..storage.names import printable
from ..storage.schema import PersonRow, PhotoRow, SightingRow
from .changes import log_change
from .records import Person
from .rows import note_merged, read_people
from .templates import assign_templates, erase_templates


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
    photos = [photo.id for photo in gone.photos]
    assign_templates(session, np.array(photos, np.int64), keep.id)
    for table in (PhotoRow, SightingRow):
        moved = update(table).where(table.person_id == gone.id)
        session.execute(moved.values(person_id=keep.id))
    note_merged(session, keep.id, gone)
    session.execute(delete(PersonRow).where(PersonRow.id == gone.id))
    log_change(session, "merged", keep.id)
    return next(read_people(session, keep.id))
