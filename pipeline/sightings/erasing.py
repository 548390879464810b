"""Erases people and sightings: the rows of all tables in one transaction, then the pictures.

A table that has something of a sighting or of a person is named in `OF_SIGHTINGS` or `OF_PEOPLE`;
nothing else needs to change for a new one.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import DeclarativeBase, Session

from ..gallery.changes import log_change
from ..gallery.edits import remove_person
from ..gallery.rows import read_people
from ..gallery.templates import erase_templates
from ..storage.schema import (
    ClusterMemberRow,
    CohortMemberRow,
    DecisionRow,
    ErasingRow,
    ForgottenRow,
    MediaRow,
    MetaRow,
    PhotoNoteRow,
    PhotoRow,
    RejectionRow,
    SightingRow,
    SightingTemplateRow,
)
from .media import MediaFolder

# Sightings that are erased in one transaction, so that others write in between.
BATCH = 200
_COUNTER = "erasures"
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Trace:
    """A column by which a table has something of a person or a sighting.

    Attributes:
        then: ``delete`` the row; ``clear`` the column (null); take the person out of a ``list``:
            JSON, of [person id, …].
    """

    row: type[DeclarativeBase]
    column: str
    then: Literal["delete", "clear", "list"] = "delete"

    @property
    def table(self) -> sa.Table:
        found = self.row.__table__
        assert isinstance(found, sa.Table)
        return found


OF_SIGHTINGS = (
    Trace(CohortMemberRow, "sighting_id"),
    Trace(ClusterMemberRow, "sighting_id"),
    Trace(RejectionRow, "sighting_id"),
    Trace(DecisionRow, "sighting_id"),
    Trace(SightingTemplateRow, "sighting_id"),
    Trace(MediaRow, "sighting_id"),
    Trace(SightingRow, "id"),  # the last: the others refer to it
)
OF_PEOPLE = (
    Trace(SightingRow, "person_id", "clear"),
    Trace(SightingRow, "candidates", "list"),
    Trace(RejectionRow, "person_id"),
)


def erase_sightings(connection: Connection, ids: Sequence[int]) -> Counter[str]:
    """Erase sightings, at most `BATCH`; their pictures are noted for `erase_pictures`.

    Returns:
        How many rows of each table are gone.
    """
    chosen = SightingRow.id.in_(ids)
    opened = select(SightingRow.uid).where(chosen, SightingRow.state == "open")
    for uid in connection.scalars(opened).all():
        forget_key(connection, f"sighting/{uid}")
    paths = select(MediaRow.path).where(MediaRow.sighting_id.in_(ids))
    note_pictures(connection, connection.scalars(paths).all())
    counts: Counter[str] = Counter()
    for trace in OF_SIGHTINGS:
        counts[trace.table.name] += _drop(connection, trace, ids)
    count_erasure(connection)
    return +counts


def learned_from(connection: Connection, ids: Sequence[int]) -> list[int]:
    """The photos of the gallery that were learned from these sightings, at most `BATCH`."""
    uids = select(SightingRow.uid).where(SightingRow.id.in_(ids))
    query = select(PhotoNoteRow.photo_id).where(PhotoNoteRow.sighting.in_(uids))
    return sorted(connection.scalars(query))


def erase_photos(connection: Connection, photo_ids: Sequence[int]) -> int:
    """Erase photos with their embeddings; their people stay, also without a photo.

    Returns:
        How many there were.
    """
    if not photo_ids:
        return 0
    with Session(connection) as session:
        erase_templates(session, np.array(photo_ids, np.int64))
        session.execute(sa.delete(PhotoRow).where(PhotoRow.id.in_(photo_ids)))
        for photo in photo_ids:
            log_change(session, "photo_removed", photo)
        session.flush()
    return len(photo_ids)


def erase_person(connection: Connection, person_id: int) -> Counter[str]:
    """Erase a person with photos and embeddings, and what other rows say of the person.

    Returns:
        How many rows of each table are gone; ``mentions``: how many were changed.
    """
    counts: Counter[str] = Counter()
    for trace in OF_PEOPLE:
        if trace.then == "list":
            counts["mentions"] += _take_out(connection, trace, person_id)
        else:
            name = trace.table.name if trace.then == "delete" else "mentions"
            counts[name] += _drop(connection, trace, [person_id])
    with Session(connection) as session:
        person = next(read_people(session, person_id))
        counts["photos"] += remove_person(session, person)
        session.flush()
    counts["people"] += 1
    forget_key(connection, f"person/{person_id}")
    count_erasure(connection)
    return +counts


def erase_pictures(connection: Connection, media: MediaFolder, paths: Sequence[str]) -> int:
    """Erase pictures that are noted, with unfinished copies beside them; forgets the notes.

    Returns:
        How many files are gone.

    Raises:
        OSError: one cannot be erased; the notes stay.
    """
    count = 0
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        folders[path.rpartition("/")[0]].update(_UID.findall(path))
        count += media.erase(path)
    for folder, uids in folders.items():
        place = media.path / folder
        names = [one.name for one in place.iterdir()] if place.is_dir() else []
        for name in names:
            # Unfinished ones, and those that a change of keys left behind.
            if uids & set(_UID.findall(name)) and not _is_stored(connection, f"{folder}/{name}"):
                count += media.erase(f"{folder}/{name}")
    return count


def _is_stored(connection: Connection, path: str) -> bool:
    return bool(connection.execute(select(MediaRow.path).where(MediaRow.path == path)).first())


def noted_pictures(connection: Connection, limit: int = BATCH) -> list[str]:
    """Pictures whose rows are gone and whose files are still to be erased."""
    return list(connection.scalars(select(ErasingRow.path).limit(limit)))


def note_pictures(connection: Connection, paths: Iterable[str]) -> None:
    """Note pictures for `erase_pictures`."""
    rows = [{"path": path} for path in paths]
    if rows:
        connection.execute(sa.insert(ErasingRow), rows)


def drop_notes(connection: Connection, paths: Sequence[str]) -> None:
    """Forget the notes on pictures that are erased."""
    connection.execute(sa.delete(ErasingRow).where(ErasingRow.path.in_(paths)))


def forget_key(connection: Connection, key: str) -> None:
    """Keep runs that know a person or a sighting from storing it again."""
    connection.execute(sa.delete(ForgottenRow).where(ForgottenRow.key == key))
    connection.execute(sa.insert(ForgottenRow).values(key=key, at=datetime.now(UTC)))


def erasures(connection: Connection) -> str:
    """A count that grows with each erasure of sightings."""
    query = select(MetaRow.value).where(MetaRow.key == _COUNTER)
    return connection.execute(query).scalar() or "0"


def count_erasure(connection: Connection) -> None:
    """Tell others that have sightings in memory that some are gone."""
    now = str(int(erasures(connection)) + 1)
    connection.execute(sa.delete(MetaRow).where(MetaRow.key == _COUNTER))
    connection.execute(sa.insert(MetaRow).values(key=_COUNTER, value=now))


T = TypeVar("T")


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, `BATCH` at a time."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _drop(connection: Connection, trace: Trace, ids: Sequence[int]) -> int:
    table = trace.table
    column = table.c[trace.column]
    if trace.then == "delete":
        return connection.execute(sa.delete(table).where(column.in_(ids))).rowcount
    cleared = sa.update(table).where(column.in_(ids)).values({trace.column: None})
    return connection.execute(cleared).rowcount


def _take_out(connection: Connection, trace: Trace, person_id: int) -> int:
    """Take a person out of lists of [person id, …]; returns how many were changed."""
    table = trace.table
    column = table.c[trace.column]
    (key,) = table.primary_key.columns
    rows = connection.execute(
        select(key.label("key"), column.label("text")).where(column.like(f"%[{person_id},%"))
    ).all()
    changed = 0
    for row in rows:
        others = [one for one in json.loads(row.text) if one[0] != person_id]
        text = json.dumps(others) if others else None
        if text == row.text:
            continue
        connection.execute(sa.update(table).where(key == row.key).values({trace.column: text}))
        changed += 1
    return changed
