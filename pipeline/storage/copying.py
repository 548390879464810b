"""All rows of one database into another one, of the same kind or not."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.types import TypeDecorator

from ..core.location import Location
from .database import backend_of
from .schema import Base

_ROWS = 1000


def copy_rows(
    source: Connection, target: Connection, *, origin: Location, destination: Location
) -> None:
    """Replace the rows of an empty ``target`` by those of ``source``; both have this schema.

    Args:
        source: in a transaction that reads one state.
        target: in a transaction that writes.
        origin, destination: where they are.
    """
    tables = [_plain(table) for table in Base.metadata.sorted_tables]
    for table in reversed(tables):
        if table.name != "audit":  # it refuses, and is empty
            target.execute(sa.delete(table))
    for table in tables:
        query = sa.select(table).execution_options(yield_per=_ROWS)
        with source.execute(query) as rows:
            for part in rows.mappings().partitions():
                target.execute(sa.insert(table), [dict(row) for row in part])
    counters = backend_of(origin).counters(source)
    ours = {table.name for table in tables}
    backend_of(destination).set_counters(
        target, {name: last for name, last in counters.items() if name in ours}
    )


def is_empty(connection: Connection) -> bool:
    """True when nobody and nothing is stored."""
    made = ("meta", "audit_head")  # have rows from the start
    tables = [table for table in Base.metadata.sorted_tables if table.name not in made]
    return not any(
        connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
        for table in tables
    )


def _plain(table: sa.Table) -> sa.Table:
    """The table with the values as they are stored: they are not decoded on the way."""
    return sa.Table(
        table.name,
        sa.MetaData(),
        *(
            sa.Column(
                column.name,
                column.type.impl if isinstance(column.type, TypeDecorator) else column.type,
            )
            for column in table.columns
        ),
    )
