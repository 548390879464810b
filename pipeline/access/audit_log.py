"""Reading, verifying and exporting the audit log, and noting look-ups."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from facestream.engines.closing import Closing

from ..storage.access_schema import AuditHeadRow, AuditRow
from ..storage.audit import FIELDS, START, AuditEntry, append, chained
from .roles import AccessDatabase

log = logging.getLogger(__name__)

_CHUNK: Final = 1000
MOST_WAITING: Final = 10_000


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry of the log; ``id`` counts from 1 without gaps, ``at`` is UTC."""

    id: int
    at: datetime
    actor: str
    address: str
    action: str
    target: str
    reason: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {name: getattr(self, name) for name in FIELDS}
        return {"id": self.id, "at": self.at.isoformat(), **values, "hash": self.hash}


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What verification found.

    Attributes:
        entries: how many were read.
        head: hash of the last one; kept elsewhere, it proves later what was there.
        problem: the first thing that is wrong; empty: nothing.
    """

    entries: int
    head: str
    problem: str = ""


def read_audit(
    database: AccessDatabase, *, after: int = 0, limit: int | None = None
) -> Iterator[AuditRecord]:
    """The entries after this id, the oldest first; all of them without a limit."""
    left = limit
    while left is None or left > 0:
        size = _CHUNK if left is None else min(_CHUNK, left)
        query = sa.select(AuditRow.__table__).where(AuditRow.id > after).order_by(AuditRow.id)
        with database.reading() as connection:
            rows = connection.execute(query.limit(size)).all()
        for row in rows:
            yield AuditRecord(**row._mapping)
        if len(rows) < size:
            return
        after, left = rows[-1].id, None if left is None else left - size


def newest_audit(database: AccessDatabase, *, before: int | None, limit: int) -> list[AuditRecord]:
    """The newest entries, or those before an id; the newest first."""
    query = sa.select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.id < before)
    with database.reading() as connection:
        return [AuditRecord(**row._mapping) for row in connection.execute(query)]


def verify_audit(database: AccessDatabase) -> AuditVerdict:
    """Compute the chain anew: a changed, missing or added entry breaks it."""
    with database.reading() as connection:
        head = connection.execute(sa.select(AuditHeadRow.last, AuditHeadRow.hash)).one()
    before, count = START, 0
    for entry in read_audit(database, limit=head.last):
        values = {name: getattr(entry, name) for name in FIELDS}
        if entry.id != count + 1:
            return AuditVerdict(count, before, f"entry {count + 1} is missing")
        before, count = chained(before, entry.id, entry.at, values), count + 1
        if entry.hash != before:
            return AuditVerdict(count, before, f"entry {count} was changed, or one before it")
    if (count, before) != (head.last, head.hash):
        return AuditVerdict(count, before, f"the last entry is not the one noted as {head.last}")
    return AuditVerdict(count, before)


class LookupLog(Closing):
    """Notes look-ups, many in one transaction.

    Who looks something up waits for `note` before the answer is given, so that there is no answer
    without an entry; meanwhile the answer is made.
    """

    def __init__(self, database: AccessDatabase) -> None:
        self._database = database
        self._waiting: queue.Queue[tuple[AuditEntry, Future[None]] | None] = queue.Queue(
            MOST_WAITING
        )
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def note(self, entry: AuditEntry) -> Future[None]:
        """Done when the entry is on the disk; fails where it could not be written."""
        done: Future[None] = Future()
        try:
            self._waiting.put_nowait((entry, done))
        except queue.Full:
            done.set_exception(OSError("the audit log cannot be written fast enough"))
        return done

    def close(self) -> None:
        """Write what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            items = [self._waiting.get()]
            while len(items) < _CHUNK:
                try:
                    items.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ended = None in items
            self._write([item for item in items if item is not None])

    def _write(self, items: list[tuple[AuditEntry, Future[None]]]) -> None:
        if not items:
            return
        try:
            with self._database.writing() as connection:
                append(connection, [entry for entry, _ in items])
        except Exception as error:  # noqa: BLE001  # who waits gets it
            log.warning("the audit log cannot be written: %s", error)
            for _, done in items:
                done.set_exception(error)
        else:
            for _, done in items:
                done.set_result(None)
