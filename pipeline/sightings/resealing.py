"""What is sealed is sealed anew, batch by batch: rows and pictures in the form written now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import DeclarativeBase

from ..core.errors import OutputError
from ..storage.schema import MediaRow, SightingRow
from ..storage.vault import prefix_of, vault_of
from .media import MediaFolder, StoredPicture

# In one transaction, so that others write in between.
BATCH = 500


@dataclass(frozen=True, slots=True)
class SealedColumns:
    """Columns of a table that are encrypted.

    Attributes:
        row: the table; rows are visited in the order of its primary key.
        columns: their names.
        place: what a column of a row is sealed with.
    """

    row: type[DeclarativeBase]
    columns: tuple[str, ...]
    place: Callable[[Any, str], tuple[object, ...]]

    @property
    def table(self) -> sa.Table:
        found = self.row.__table__
        assert isinstance(found, sa.Table)
        return found


def written_anew(connection: Connection, media: MediaFolder, row: Any) -> StoredPicture | str:
    """A picture in the form that is stored now; its new path where the file is missing.

    Raises OutputError if it cannot be read or written.
    """
    try:
        jpeg = media.read(connection, row.path, row.uid, row.kind)
        return media.store(row.path, row.uid, row.kind, jpeg)
    except FileNotFoundError:  # `db check` says so
        return media.renamed(row.path)
    except OSError as error:
        raise OutputError(
            f"the picture {media.path / row.path} cannot be written anew: {error.strerror}; "
            "the same command goes on when that is mended"
        ) from error


def next_rows(
    connection: Connection, sealed: SealedColumns, last: Sequence[Any] | None
) -> tuple[int, Sequence[Any] | None]:
    """Seal the next rows anew; returns how many, and the last one's key (None: there are none)."""
    vault, table = vault_of(connection), sealed.table
    keys = list(table.primary_key.columns)
    query = other_rows(sealed, vault.active).order_by(*keys).limit(BATCH)
    if last is not None:
        query = query.where(sa.tuple_(*keys) > tuple(last))
    rows = connection.execute(query).all()
    changed = []
    for row in rows:
        values = {f"key_{key.name}": getattr(row, key.name) for key in keys}
        for name in sealed.columns:
            data = getattr(row, name)
            if isinstance(data, bytes):  # else it is damaged, and stays
                place = sealed.place(row, name)
                data = vault.seal(vault.open(connection, data, *place), *place)
            values[f"new_{name}"] = data
        changed.append(values)
    if changed:
        which = [key == sa.bindparam(f"key_{key.name}") for key in keys]
        new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in sealed.columns}
        connection.execute(sa.update(table).where(*which).values(new), changed)
    end = [getattr(rows[-1], key.name) for key in keys] if rows else None
    return len(rows), end


def other_rows(sealed: SealedColumns, active: int | None) -> sa.Select[Any]:
    """The rows that are not in the form that is written now."""
    other = []
    for name in sealed.columns:
        column = sealed.table.c[name]
        prefix = prefix_of(active or 0)
        if active is None:
            prefix = prefix[:4]
        begins = sa.func.substr(column, 1, len(prefix)) == prefix
        other.append(begins if active is None else sa.not_(begins))
    return select(sealed.table).where(sa.or_(*other))


def other_pictures(active: int | None) -> Any:
    """The pictures that are not in the form that is written now."""
    query: Any = select(MediaRow.path, MediaRow.kind, SightingRow.uid).join(
        SightingRow, SightingRow.id == MediaRow.sighting_id
    )
    if active is None:
        return query.where(MediaRow.path.like("%.jpg.k%"))
    return query.where(MediaRow.path.not_like(f"%.jpg.k{active}"))


def to_do(connection: Connection, sealed: Sequence[SealedColumns], active: int | None) -> int:
    """How many rows and pictures are not in the form that is written now.

    Args:
        sealed: all columns that are.
        active: the data key that writes; None: nothing is encrypted.
    """
    queries = [*(other_rows(one, active) for one in sealed), other_pictures(active)]
    counts = (select(sa.func.count()).select_from(query.subquery()) for query in queries)
    return sum(int(connection.execute(count).scalar_one()) for count in counts)
