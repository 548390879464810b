"""Runs that store sightings, and what is left of those that died."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, select

from ..storage.schema import RunRow, SightingRow

# A run on another machine is dead when it has not been alive for so long.
DEAD_SECONDS = 60.0


def begin(connection: Connection, run_id: str) -> int:
    """Note that a run of this process begins, and close what dead runs left open.

    Returns:
        How many sightings of dead runs were closed as ``interrupted``.
    """
    now = datetime.now(UTC)
    unfinished = select(SightingRow.run_id).where(SightingRow.state == "open").distinct()
    known = connection.execute(select(RunRow).where(RunRow.id.in_(unfinished)))
    closed = close_open(connection, [row.id for row in known if not _alive(row, now)])
    connection.execute(
        sa.insert(RunRow).values(
            id=run_id,
            host=socket.gethostname(),
            process=_this_process(),
            started_at=now,
            alive_at=now,
        )
    )
    return closed


def close_open(connection: Connection, run_ids: Sequence[str]) -> int:
    """Close the open sightings of these runs as ``interrupted``; returns how many there were."""
    return connection.execute(
        sa.update(SightingRow)
        .where(SightingRow.state == "open", SightingRow.run_id.in_(run_ids))
        .values(state="interrupted")
    ).rowcount


def _this_process() -> str:
    """Process id and start time: an id is used again after a restart."""
    return f"{os.getpid()} {_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process began, in clock ticks since the system did; empty where that is not known."""
    with suppress(OSError, IndexError):
        # The name in parentheses may have spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _alive(row: sa.Row[Any], now: datetime) -> bool:
    if row.host != socket.gethostname():
        return bool(now - row.alive_at < timedelta(seconds=DEAD_SECONDS))
    pid, _, started = row.process.partition(" ")
    return bool(started) and _started(int(pid)) == started
