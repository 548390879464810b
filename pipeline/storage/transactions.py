"""Transactions that write, and how long a thread waits for those of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.engine import Connection, Engine

from .audit import note_pending
from .vault import OPTION

BUSY_SECONDS = 10.0
# Of a list in one statement: fewer than SQLite (32,766) and PostgreSQL (65,535) take.
_VALUES = 10_000

_patience: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """In this thread, wait no longer for another process's transaction than this."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def impatient() -> bool:
    """True within ``waiting_at_most``."""
    return _patience.get() is not None


def patience_ms() -> int:
    """How long this thread waits, in milliseconds."""
    seconds = _patience.get()
    return int(1000 * (BUSY_SECONDS if seconds is None else seconds))


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that has the write lock from its start, so that it cannot deadlock."""
    connect = engine.connect().execution_options(facestream_write=True)
    with connect as connection, connection.begin():
        vault = connection.get_execution_options().get(OPTION)
        if vault is not None:  # else the tables are being made
            vault.refresh(connection)
        yield connection
        note_pending(connection)


def writes(connection: Connection) -> bool:
    """True where the transaction that begins is one of ``writing``."""
    return bool(connection.get_execution_options().get("facestream_write", False))


def chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """The ids in parts that fit into a statement."""
    rest = list(ids)
    for start in range(0, len(rest), _VALUES):
        yield rest[start : start + _VALUES]
