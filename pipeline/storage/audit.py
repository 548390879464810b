"""The audit log: entries in the transaction of the change they are about, each chained to the last.

::

    with audited(AuditEntry("key:panel", "people.rename", "person 7")):
        store.rename("Ada", "Ada Lovelace")  # the entry is committed with it, or not at all
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from facestream.engines.errors import printable
from sqlalchemy.engine import Connection

from .access_schema import AuditHeadRow, AuditRow

LONGEST: Final = 500
"""Characters of each field; more is cut off."""
START: Final = "0" * 64
"""The hash before the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is noted; nothing secret belongs here.

    Attributes:
        actor: e.g. ``key:panel``, ``user:ada``, ``local``, ``shell:ada``.
        action: e.g. ``people.rename``.
        target: what it was done to.
        reason: given by the actor; empty where none was.
        address: of the client; empty for commands.
    """

    actor: str
    action: str
    target: str = ""
    reason: str = ""
    address: str = ""


_pending: ContextVar[AuditEntry | None] = ContextVar("audit", default=None)


@contextmanager
def audited(entry: AuditEntry) -> Iterator[None]:
    """Note this entry with each transaction that this thread commits meanwhile."""
    token = _pending.set(entry)
    try:
        yield
    finally:
        _pending.reset(token)


def note_pending(connection: Connection) -> None:
    """Add the entry of `audited`, where there is one; called before a transaction is committed."""
    entry = _pending.get()
    if entry is not None:
        append(connection, [entry])


def append(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Add entries in this transaction."""
    # Locked until the end of the transaction, where the database has locks of rows.
    head = connection.execute(
        sa.select(AuditHeadRow.last, AuditHeadRow.hash).with_for_update()
    ).one()
    last, before = int(head.last), str(head.hash)
    at = datetime.now(UTC)
    rows = []
    for entry in entries:
        last += 1
        values = {name: _field(getattr(entry, name)) for name in FIELDS}
        before = chained(before, last, at, values)
        rows.append({"id": last, "at": at, **values, "hash": before})
    connection.execute(sa.insert(AuditRow), rows)
    connection.execute(sa.update(AuditHeadRow).values(last=last, hash=before))


FIELDS: Final = ("actor", "address", "action", "target", "reason")


def chained(before: str, number: int, at: datetime, values: dict[str, str]) -> str:
    """The hash of an entry that follows the one with the hash ``before``."""
    time = at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [before, number, time, *(values[name] for name in FIELDS)]
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _field(text: str) -> str:
    return printable(text[: LONGEST + 1])[:LONGEST]
