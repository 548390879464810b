"""Transactions that change decisions: one at a time, and seen by the clusters of all processes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import Connection

from ..storage.schema import MetaRow
from .cluster_index import VERSION, stamp
from .store import Sightings

log = logging.getLogger(__name__)


@contextmanager
def deciding(sightings: Sightings) -> Iterator[Connection]:
    """A transaction that has the write lock; clusters in memory are read anew after it."""
    with sightings.writing() as connection:
        yield connection
        bump(connection)


def bump(connection: Connection) -> tuple[str, int]:
    """Note that the clusters changed; returns their new stamp."""
    value = secrets.token_hex(8)
    changed = sa.update(MetaRow).where(MetaRow.key == VERSION).values(value=value)
    if not connection.execute(changed).rowcount:
        connection.execute(sa.insert(MetaRow).values(key=VERSION, value=value))
    return stamp(connection)
