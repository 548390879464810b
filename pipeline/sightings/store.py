"""The stored sightings: reading them, and the transactions that write them."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from facestream.engines.closing import Closing
from sqlalchemy import Connection, or_, select
from sqlalchemy.exc import DBAPIError

from ..core.config.folders import default_gallery_path, default_media_path
from ..core.errors import UsageError
from ..core.location import DatabaseUrl, Location, locate
from ..core.types import Floats
from ..gallery.calibrated import read_calibration
from ..identity.calibrated import CalibratedRules
from ..storage.database import (
    Create,
    backend_of,
    chunks,
    open_database,
    translated,
    wipe_journal,
    writing,
)
from ..storage.history import DECIDED
from ..storage.names import RESERVED, name_key
from ..storage.schema import MediaRow, PersonRow, RunRow, SightingRow, SightingTemplateRow
from ..storage.sealed import forgotten, opened_floats, sealed
from ..storage.vault import vault_of
from . import runs
from .media import FOLDER, MediaFolder, StoredPicture
from .records import MediaKind, Page, Sighting, SightingFilter

log = logging.getLogger(__name__)

PAGE = 50
_Conditions = list[sa.ColumnElement[bool]]
_EVERYTHING = SightingFilter()
# All rows of one statement have the same columns.
_NULLS = {column.name: None for column in SightingRow.__table__.columns if column.nullable}


class Sightings(Closing):
    """The sightings of a database. May be used from several threads and processes.

    Every method may raise ``GalleryError``: the database cannot be read or written, is damaged or
    has a newer schema.

    Args:
        path: the database's file, which holds the people too, or a ``postgresql://`` URL; None:
            the user's default gallery.
        create: whether a missing file is made, or tables in an empty database.
        media: the folder of the pictures; None: ``media`` beside the file, and for a URL a folder
            of the database's name in the user's data folder.

    Attributes:
        location: absolute path, or URL.
        media: the folder of the pictures.
    """

    def __init__(
        self,
        path: str | Location | None = None,
        *,
        create: Create = "never",
        media: Path | None = None,
    ) -> None:
        place = locate(path if path is not None else default_gallery_path())
        self.location = place if isinstance(place, DatabaseUrl) else place.absolute()
        self._engine = open_database(self.location, create=create)
        with self._engine.connect() as connection:
            vault = vault_of(connection)
        self.media = MediaFolder((media or _media_of(self.location)).absolute(), vault)

    @property
    def path(self) -> Path:
        """Of the file; raises UsageError where the database is a server's."""
        if isinstance(self.location, DatabaseUrl):
            raise UsageError(f"'{self.location}' is no file; this is done with files only")
        return self.location

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def problems(self) -> list[str]:
        """What is damaged in the database itself, a line each; reads all of it."""
        with self.reading() as connection:
            return list(backend_of(self.location).problems(connection))

    def page(
        self, wanted: SightingFilter = _EVERYTHING, *, limit: int = PAGE, cursor: str | None = None
    ) -> Page:
        """The newest sightings, or those after ``cursor`` of an earlier page.

        Raises:
            UsageError: the cursor is none of ours.
        """
        query = _select().order_by(SightingRow.seen_at.desc(), SightingRow.id.desc())
        if cursor is not None:
            place = sa.tuple_(SightingRow.seen_at, SightingRow.id)
            # One comparison of both: a range of the index, however deep the page is.
            query = query.where(place < _decode(cursor))
        query = query.limit(limit + 1)
        with self.reading() as connection:
            # One after the other, each in the order of an index: together they would be sorted.
            rows = [
                row
                for conditions in _alternatives(connection, wanted)
                for row in connection.execute(query.where(*conditions))
            ]
            rows.sort(key=lambda row: (row.seen_at, row.id), reverse=True)
            found = self._sightings(connection, rows[:limit])
        more = len(rows) > limit
        return Page(found, cursor_at(rows[limit - 1].seen_at, rows[limit - 1].id) if more else None)

    def get(self, uid: str) -> Sighting:
        """The sighting whose id is, or begins with, this.

        Raises:
            UsageError: there is none, or there are several.
        """
        query = _select().where(SightingRow.uid.startswith(uid, autoescape=True)).limit(2)
        with self.reading() as connection:
            rows = connection.execute(query).all()
            found = self._sightings(connection, rows)
        if len(found) != 1 or not uid:
            many = "more than one sighting begins" if found else "no sighting begins"
            raise UsageError(f"{many} with the id '{uid}'; 'facestream who' lists their ids")
        return found[0]

    def template(self, uid: str) -> Floats | None:
        """The fused embedding of a sighting (mu, D); None without one."""
        query = (
            select(SightingTemplateRow.__table__)
            .join(SightingRow, SightingRow.id == SightingTemplateRow.sighting_id)
            .where(SightingRow.uid == uid)
        )
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else opened_floats(connection, row)

    def picture(self, uid: str, kind: MediaKind) -> bytes | None:
        """The JPEG of a sighting's picture, decrypted where it is encrypted; None without one.

        Raises:
            OSError: its file cannot be read.
        """
        query = (
            select(MediaRow.path)
            .join(SightingRow, SightingRow.id == MediaRow.sighting_id)
            .where(SightingRow.uid == uid, MediaRow.kind == kind)
        )
        tried: str | None = None
        while True:
            with self.reading() as connection:
                path = connection.execute(query).scalar_one_or_none()
                try:
                    return None if path is None else self.media.read(connection, path, uid, kind)
                except FileNotFoundError:
                    if path == tried:
                        raise
                    tried = path  # it was encrypted anew in between

    def by_row_id(self, ids: Sequence[int]) -> dict[int, Sighting]:
        """The sightings of these rows that exist, by the row's id."""
        done: dict[int, Sighting] = {}
        with self.reading() as connection:
            for some in chunks(ids):
                rows = connection.execute(_select().where(SightingRow.id.in_(some))).all()
                found = self._sightings(connection, rows)
                done |= {row.id: one for row, one in zip(rows, found, strict=True)}
        return done

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which one state of the database is read."""
        with translated(self.location), self._engine.connect() as connection:
            yield connection

    def any(self) -> bool:
        """Whether there are sightings at all."""
        with self.reading() as connection:
            return connection.execute(select(SightingRow.id).limit(1)).first() is not None

    def calibrated(self) -> CalibratedRules | None:
        """The calibration in force; see `read_calibration`."""
        with self.reading() as connection:
            return read_calibration(connection)

    def count(self, wanted: SightingFilter = _EVERYTHING) -> int:
        """How many sightings there are."""
        query = select(sa.func.count()).select_from(SightingRow)
        with self.reading() as connection:
            return int(connection.execute(query.where(*_conditions(wanted))).scalar_one())

    def _sightings(
        self, connection: Connection, rows: Sequence[sa.Row[Any]]
    ) -> tuple[Sighting, ...]:
        pictures: dict[int, dict[str, str]] = {}
        media = select(MediaRow.sighting_id, MediaRow.kind, MediaRow.path)
        for ids in chunks(row.id for row in rows):
            for row in connection.execute(media.where(MediaRow.sighting_id.in_(ids))):
                place = pictures.setdefault(row.sighting_id, {})
                place[row.kind] = str(self.media.path / row.path)
        return tuple(_sighting(row, pictures.get(row.id, {})) for row in rows)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that has the write lock from its start."""
        with translated(self.location), writing(self._engine) as connection:
            yield connection

    def scrub(self, *, compact: bool = False) -> None:
        """Overwrite what erased rows left in the database, see ``Backend.scrub``."""
        with translated(self.location):
            backend_of(self.location).scrub(self._engine, compact=compact)

    def wipe(self) -> None:
        """Overwrite what past changes left beside the file; see `storage.database`."""
        try:
            wipe_journal(self._engine, self.location)
        except (DBAPIError, OSError) as error:
            log.warning("what was removed could not be overwritten yet: %s", error)

    # --- writing ---------------------------------------------------------------------------

    def begin_run(self, run_id: str) -> int:
        """Note that a run begins, and close what dead runs left open.

        Returns:
            How many sightings of dead runs were closed as ``interrupted``.
        """
        with self.writing() as connection:
            return runs.begin(connection, run_id)

    def write(
        self,
        run_id: str,
        rows: Iterable[Mapping[str, Any]],
        templates: Mapping[str, Mapping[str, Any]],
        pictures: Mapping[str, Sequence[StoredPicture]],
    ) -> None:
        """Insert or update sightings of a run, in one transaction.

        Args:
            rows: columns of ``SightingRow`` that are known by now; ``uid`` says which it is. The
                first time all that may not be null must be there.
            templates: columns of ``SightingTemplateRow``, by uid.
            pictures: by uid.
        """
        rows = list(rows)
        with self.writing() as connection:
            gone = forgotten(connection, rows)
            rows = [row for row in rows if row["uid"] not in gone]
            uids = [row["uid"] for row in rows]
            ids = _ids(connection, uids)
            fixed = _fixed(connection, uids)
            people = _people(connection, {row.get("person_id") for row in rows})
            new, changed = [], []
            for row in rows:
                values = dict(row)
                # The person may have been removed since the search.
                if values.get("person_id") is not None and values["person_id"] not in people:
                    values["person_id"] = None
                if values["uid"] in ids:
                    changed.append(values)
                elif "seen_at" in values:  # else its first row was dropped; ``left`` brings all
                    new.append({"run_id": run_id, **values})
            if new:
                connection.execute(sa.insert(SightingRow), [_NULLS | values for values in new])
                ids |= _ids(connection, [row["uid"] for row in new])
            for values in changed:
                # What a human decided stays.
                left_out = {"uid", *(DECIDED if values["uid"] in fixed else ())}
                others = {key: value for key, value in values.items() if key not in left_out}
                if not others:
                    continue
                connection.execute(
                    sa.update(SightingRow)
                    .where(SightingRow.id == ids[values["uid"]])
                    .values(others)
                )
            _replace(
                connection,
                SightingTemplateRow,
                [
                    sealed(connection, ids[uid], values)
                    for uid, values in templates.items()
                    if uid in ids
                ],
            )
            _replace(
                connection,
                MediaRow,
                [
                    {
                        "sighting_id": ids[uid],
                        "kind": one.kind,
                        "path": one.path,
                        "sha256": one.sha256,
                        "size": one.size,
                    }
                    for uid, written in pictures.items()
                    for one in self._as_stored_now(connection, uid, written, known=uid in ids)
                ],
            )
            connection.execute(
                sa.update(RunRow).where(RunRow.id == run_id).values(alive_at=datetime.now(UTC))
            )

    def _as_stored_now(
        self, connection: Connection, uid: str, written: Sequence[StoredPicture], *, known: bool
    ) -> list[StoredPicture]:
        """The pictures of a sighting, in the form that the database has by now; those of a
        sighting that was forgotten are erased."""
        kept = []
        for one in written:
            if not known:
                self.media.erase(one.path)
            elif self.media.up_to_date(one.path):
                kept.append(one)
            else:
                kept.append(self.media.brought_up_to_date(connection, one, uid))
        return kept

    def end_run(self, run_id: str) -> None:
        """Close what the run left open as ``interrupted``: nothing more will come."""
        with self.writing() as connection:
            runs.close_open(connection, [run_id])


def _media_of(location: Location) -> Path:
    if isinstance(location, DatabaseUrl):
        return default_media_path() / location.name
    return location.parent / FOLDER


def _ids(connection: Connection, uids: Sequence[str]) -> dict[str, int]:
    found = connection.execute(
        select(SightingRow.uid, SightingRow.id).where(SightingRow.uid.in_(uids))
    )
    return {row.uid: row.id for row in found}


def _fixed(connection: Connection, uids: Sequence[str]) -> set[str]:
    query = select(SightingRow.uid).where(SightingRow.uid.in_(uids), SightingRow.fixed.is_(True))
    return set(connection.scalars(query))


def _people(connection: Connection, ids: set[int | None]) -> set[int]:
    wanted = [one for one in ids if one is not None]
    return set(connection.scalars(select(PersonRow.id).where(PersonRow.id.in_(wanted))))


def _replace(connection: Connection, table: type[Any], rows: list[dict[str, Any]]) -> None:
    if rows:
        owners = {row["sighting_id"] for row in rows}
        connection.execute(sa.delete(table).where(table.sighting_id.in_(owners)))
        connection.execute(sa.insert(table), rows)


def _select() -> sa.Select[Any]:
    return select(SightingRow.__table__, PersonRow.name).outerjoin(
        PersonRow, PersonRow.id == SightingRow.person_id
    )


def _alternatives(connection: Connection, wanted: SightingFilter) -> list[_Conditions]:
    """Conditions of which each sighting that is wanted fulfils exactly one: a name, a source or a
    verdict each, whichever restricts most."""
    others = wanted
    ways: list[sa.ColumnElement[bool]] = []
    if wanted.names is not None:
        keys = [name_key(name) for name in wanted.names]
        found = connection.scalars(select(PersonRow.id).where(PersonRow.name_key.in_(keys)))
        ways = [SightingRow.person_id == one for one in found]
        ways += [SightingRow.person_id.is_(None)] if wanted.unnamed else []
        others = replace(wanted, names=None)
    elif wanted.sources is not None:
        ways = [SightingRow.source == one for one in dict.fromkeys(wanted.sources)]
        others = replace(wanted, sources=None)
    elif wanted.verdicts is not None:
        ways = [SightingRow.verdict == one for one in dict.fromkeys(wanted.verdicts)]
        others = replace(wanted, verdicts=None)
    else:
        return [_conditions(wanted)]
    return [[way, *_conditions(others)] for way in ways]


def _conditions(wanted: SightingFilter) -> _Conditions:
    conditions: _Conditions = []
    if wanted.sources is not None:
        conditions.append(SightingRow.source.in_(wanted.sources))
    if wanted.since is not None:
        conditions.append(SightingRow.seen_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(SightingRow.seen_at < wanted.until)
    if wanted.verdicts is not None:
        conditions.append(SightingRow.verdict.in_(wanted.verdicts))
    if wanted.person_ids is not None:
        conditions.append(SightingRow.person_id.in_(wanted.person_ids))
    if wanted.names is not None:
        keys = [name_key(name) for name in wanted.names]
        people = SightingRow.person_id.in_(select(PersonRow.id).where(PersonRow.name_key.in_(keys)))
        unnamed = SightingRow.person_id.is_(None)
        conditions.append(or_(people, unnamed) if wanted.unnamed else people)
    return conditions


def _sighting(row: sa.Row[Any], pictures: Mapping[Any, str]) -> Sighting:
    x1, y1, x2, y2 = (float(value) for value in row.box)
    return Sighting(
        id=row.uid,
        source=row.source,
        file=row.file,
        state=row.state,
        start=row.start_utc,
        end=row.end_utc,
        start_pts=row.start_pts,
        end_pts=row.end_pts,
        box=(x1, y1, x2, y2),
        best_pts=row.best_pts,
        best_score=row.best_score,
        faces=row.faces,
        looks=row.looks,
        person_id=row.person_id,
        name=row.name or RESERVED,
        verdict=row.verdict,
        similarity=row.similarity,
        probability=row.probability,
        uncertainty=row.uncertainty,
        clearest=row.clearest,
        reason=row.reason,
        flat=row.flat,
        model=row.model_id,
        fixed=bool(row.fixed),
        ignored=bool(row.ignored),
        candidates={} if row.candidates is None else dict(json.loads(row.candidates)),
        pictures=pictures,
    )


def cursor_at(seen: datetime, row: int) -> str:
    """The cursor of the page after the sighting of that time and row."""
    text = f"{seen.isoformat()} {row}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        seen, _, last = text.partition(" ")
        at = datetime.fromisoformat(seen)
        if at.tzinfo is None:
            raise ValueError(seen)
        return at, int(last)
    except (ValueError, binascii.Error) as error:
        raise UsageError("the cursor is not one of a page of sightings; begin anew") from error
