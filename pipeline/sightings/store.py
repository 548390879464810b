"""The stored sightings: reading them, and the transactions that write them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from facestream.engines.closing import Closing
from sqlalchemy import Connection, and_, or_, select

from ..core.config.folders import default_gallery_path
from ..core.errors import UsageError
from ..core.types import Floats
from ..storage.database import Create, open_database, translated, writing
from ..storage.names import RESERVED, name_key
from ..storage.schema import MediaRow, PersonRow, RunRow, SightingRow, SightingTemplateRow
from . import runs
from .media import FOLDER, MediaFolder, StoredPicture
from .records import Page, Sighting, SightingFilter

PAGE = 50
_EVERYTHING = SightingFilter()
# All rows of one statement have the same columns.
_NULLS = {column.name: None for column in SightingRow.__table__.columns if column.nullable}


class Sightings(Closing):
    """The sightings of a database. May be used from several threads and processes.

    Every method may raise ``GalleryError``: the database cannot be read or written, is damaged or
    has a newer schema.

    Args:
        path: the database's file, which holds the people too; None: the user's default gallery.
        create: whether a missing file is made.

    Attributes:
        path: of the file, absolute.
        media: the folder of the pictures.
    """

    def __init__(self, path: str | Path | None = None, *, create: Create = "never") -> None:
        self.path = Path(path if path is not None else default_gallery_path()).absolute()
        self._engine = open_database(self.path, create=create)
        self.media = MediaFolder(self.path.parent / FOLDER)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def page(
        self, wanted: SightingFilter = _EVERYTHING, *, limit: int = PAGE, cursor: str | None = None
    ) -> Page:
        """The newest sightings, or those after ``cursor`` of an earlier page.

        Raises:
            UsageError: the cursor is none of ours.
        """
        query = _select().order_by(SightingRow.seen_at.desc(), SightingRow.id.desc())
        with self.reading() as connection:
            for condition in _conditions(wanted):
                query = query.where(condition)
            if cursor is not None:
                seen, last = _decode(cursor)
                query = query.where(
                    or_(
                        SightingRow.seen_at < seen,
                        and_(SightingRow.seen_at == seen, SightingRow.id < last),
                    )
                )
            rows = connection.execute(query.limit(limit + 1)).all()
            found = self._sightings(connection, rows[:limit])
        more = len(rows) > limit
        return Page(found, _encode(rows[limit - 1]) if more else None)

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
            select(SightingTemplateRow.mu)
            .join(SightingRow, SightingRow.id == SightingTemplateRow.sighting_id)
            .where(SightingRow.uid == uid)
        )
        with self.reading() as connection:
            mu = connection.execute(query).scalar_one_or_none()
        return None if mu is None else stored_floats(mu)

    def by_row_id(self, ids: Sequence[int]) -> dict[int, Sighting]:
        """The sightings of these rows that exist, by the row's id."""
        with self.reading() as connection:
            rows = connection.execute(_select().where(SightingRow.id.in_(ids))).all()
            found = self._sightings(connection, rows)
        return {row.id: one for row, one in zip(rows, found, strict=True)}

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which one state of the database is read."""
        with translated(self.path), self._engine.connect() as connection:
            yield connection

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
        for row in connection.execute(media.where(MediaRow.sighting_id.in_(r.id for r in rows))):
            place = pictures.setdefault(row.sighting_id, {})
            place[row.kind] = str(self.media.path / row.path)
        return tuple(_sighting(row, pictures.get(row.id, {})) for row in rows)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(self.path), writing(self._engine) as connection:
            yield connection

    # --- writing ---------------------------------------------------------------------------

    def begin_run(self, run_id: str) -> int:
        """Note that a run begins, and close what dead runs left open.

        Returns:
            How many sightings of dead runs were closed as ``interrupted``.
        """
        with self._writing() as connection:
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
        with self._writing() as connection:
            uids = [row["uid"] for row in rows]
            ids = _ids(connection, uids)
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
                others = {key: value for key, value in values.items() if key != "uid"}
                connection.execute(
                    sa.update(SightingRow)
                    .where(SightingRow.id == ids[values["uid"]])
                    .values(others)
                )
            _replace(
                connection,
                SightingTemplateRow,
                [{"sighting_id": ids[uid], **values} for uid, values in templates.items()],
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
                    for one in written
                ],
            )
            connection.execute(
                sa.update(RunRow).where(RunRow.id == run_id).values(alive_at=datetime.now(UTC))
            )

    def end_run(self, run_id: str) -> None:
        """Close what the run left open as ``interrupted``: nothing more will come."""
        with self._writing() as connection:
            runs.close_open(connection, [run_id])


def stored_floats(data: bytes) -> Floats:
    """The float32 numbers of a column of ``SightingTemplateRow``."""
    return np.frombuffer(data, "<f2").astype(np.float32)


def _ids(connection: Connection, uids: Sequence[str]) -> dict[str, int]:
    found = connection.execute(
        select(SightingRow.uid, SightingRow.id).where(SightingRow.uid.in_(uids))
    )
    return {row.uid: row.id for row in found}


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


def _conditions(wanted: SightingFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.sources is not None:
        conditions.append(SightingRow.source.in_(wanted.sources))
    if wanted.since is not None:
        conditions.append(SightingRow.seen_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(SightingRow.seen_at < wanted.until)
    if wanted.verdicts is not None:
        conditions.append(SightingRow.verdict.in_(wanted.verdicts))
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
        candidates={} if row.candidates is None else dict(json.loads(row.candidates)),
        pictures=pictures,
    )


def _encode(row: sa.Row[Any]) -> str:
    text = f"{row.seen_at.isoformat()} {row.id}"
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
