"""Runs that store sightings, killed at random moments: nothing that was acknowledged is lost.

    python -m benchmarks kill-runs --db sqlite --times 200 --json benchmarks/results/kill_runs.json
    python -m benchmarks kill-runs --db postgresql --times 200

A child stores sightings with pictures and notes, through a pipe, what was committed. It is killed
with ``kill -9``; of a PostgreSQL server every fourth time the server is killed too, while the child
writes, and started again. Then the next run begins, and the database, its pictures and the index
must agree.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import GroupingRule
from facestream.pipeline.sightings import Sightings, writer
from facestream.pipeline.sightings.maintenance import check_database, mend
from facestream.pipeline.sightings.media import StoredPicture
from facestream.pipeline.sightings.search import SightingIndex
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.schema import MediaRow, SightingRow, SightingTemplateRow

from tests.pipeline.sightings.stored import appeared, left
from tests.servers.postgresql import PostgresServer, postgresql_server

_FORK = multiprocessing.get_context("fork")
# Databases grow; each serves so many kills.
_KILLS = 25


@dataclass(slots=True)
class Kills:
    """What was found after so many kills.

    Attributes:
        acknowledged: rows that were committed before a kill.
        lost: of these, how many are missing or older than what was committed.
        left_open: open sightings after the next run began.
        findings: of ``db check``, without pictures that no row names.
        orphans: pictures that no row names (their transaction was not committed), removed.
        unremoved: of these, how many were still there.
        unindexed: embeddings that the index lacks, or has too many.
        interrupted: sightings that the next run closed.
        server_kills: kills of the server.
        slowest_s: longest opening after a kill.
    """

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    left_open: int = 0
    findings: int = 0
    orphans: int = 0
    unremoved: int = 0
    unindexed: int = 0
    interrupted: int = 0
    server_kills: int = 0
    slowest_s: float = 0.0

    @property
    def passed(self) -> bool:
        """True when nothing was lost and all agrees."""
        wrong = self.lost, self.left_open, self.findings, self.unremoved, self.unindexed
        return self.kills > 0 and self.acknowledged > 0 and not any(wrong)


class _Noting(Sightings):
    """Sends what each transaction committed."""

    note: Connection

    def write(
        self,
        run_id: str,
        rows: Iterable[Mapping[str, Any]],
        templates: Mapping[str, Mapping[str, Any]],
        pictures: Mapping[str, Sequence[StoredPicture]],
    ) -> None:
        rows = list(rows)
        super().write(run_id, rows, templates, pictures)
        self.note.send([(row["uid"], row.get("state"), len(pictures.get(row["uid"], ())))
                        for row in rows])  # fmt: skip


def _child(location: str, media: Path, note: Connection) -> None:
    writer.FLUSH_SECONDS = 0.005
    writer.RETRY_SECONDS = (0.05, 0.2)
    store = _Noting(location, media=media, create="if_missing")
    store.note = note
    out = SightingWriter(store)
    chance = random.Random(os.getpid())
    there: list[Any] = []
    while True:
        event = appeared(uid=uuid.uuid4().hex)
        out.event(event, pace="drops")
        there.append(event)
        out.seen(there[0].sighting, "door", there[0].at)
        if len(there) > 5:
            gone = there.pop(chance.randrange(len(there)))
            out.event(left(gone, shade=chance.randrange(255)), pace="drops")
        time.sleep(0.002)


def kill_once(
    location: str,
    media: Path,
    found: Kills,
    chance: random.Random,
    server: PostgresServer | None = None,
) -> None:
    """Start a child, kill it, and look what is there; the results are added to ``found``."""
    ours, theirs = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=_child, args=(location, media, theirs), daemon=True)
    child.start()
    theirs.close()
    acknowledged: dict[str, tuple[str | None, int]] = {}
    deadline = time.monotonic() + chance.uniform(0.02, 0.4)
    kill_server = server is not None and found.kills % 4 == 3
    first = True
    try:
        while first or time.monotonic() < deadline:
            if not ours.poll(30 if first else max(0.0, deadline - time.monotonic())):
                break
            _merge(acknowledged, ours.recv())
            if first:
                deadline = time.monotonic() + chance.uniform(0.02, 0.4)
                first = False
        if kill_server and server is not None:
            server.kill()
            found.server_kills += 1
            time.sleep(chance.uniform(0, 0.2))
            server.start()
            time.sleep(chance.uniform(0, 0.3))
        child.kill()
        child.join()
        while ours.poll(0):
            _merge(acknowledged, ours.recv())
    except EOFError:  # all that it sent was read
        pass
    finally:
        child.kill()
        child.join()
        ours.close()
    found.kills += 1
    found.acknowledged += len(acknowledged)
    _look(location, media, acknowledged, found)


def _merge(known: dict[str, tuple[str | None, int]], rows: list[Any]) -> None:
    for uid, state, pictures in rows:
        before = known.get(uid, (None, 0))
        known[uid] = (state or before[0], pictures or before[1])


def _look(
    location: str, media: Path, acknowledged: Mapping[str, tuple[str | None, int]], found: Kills
) -> None:
    began = time.perf_counter()
    with Sightings(location, media=media) as store:
        found.slowest_s = max(found.slowest_s, round(time.perf_counter() - began, 2))
        with store.reading() as connection:
            states = {
                row.uid: (row.id, row.state)
                for row in connection.execute(
                    sa.select(SightingRow.uid, SightingRow.id, SightingRow.state)
                )
            }
            media_of = sa.select(MediaRow.sighting_id, sa.func.count())
            counted = connection.execute(media_of.group_by(MediaRow.sighting_id))
            pictures = {row[0]: row[1] for row in counted}
        for uid, (state, count) in acknowledged.items():
            row, now = states.get(uid, (0, "missing"))
            whole = now in ("open", "closed") if state != "closed" else now == "closed"
            found.lost += not whole or pictures.get(row, 0) < count
        found.interrupted += sum(state == "open" for _, state in states.values())
        SightingWriter(store).close()  # the next run
        with store.reading() as connection:
            query = sa.select(sa.func.count())
            is_open = SightingRow.state == "open"
            found.left_open += connection.scalar(query.where(is_open)) or 0
            templates = connection.scalar(query.select_from(SightingTemplateRow)) or 0
            closed = connection.scalar(query.where(SightingRow.state == "closed")) or 0
        findings = check_database(store)
        found.orphans += sum(one.problem == "picture_unknown" for one in findings)
        mend(store, findings, older_than=0)
        findings = check_database(store)
        found.findings += sum(one.problem != "picture_unknown" for one in findings)
        found.unremoved += sum(one.problem == "picture_unknown" for one in findings)
        index = SightingIndex(store, "m", GroupingRule(Thresholds(0.5)))
        index.refresh()
        found.unindexed += abs(len(index) - templates) + abs(closed - templates)


def kill_runs(kind: str, times: int, *, seed: int = 0) -> Kills:
    """Kill so many runs into databases of this kind (``sqlite`` or ``postgresql``)."""
    found, chance = Kills(), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind == "sqlite":
            for number in range(times):
                batch = folder / str(number // _KILLS)
                batch.mkdir(exist_ok=True)
                kill_once(str(batch / "house.db"), batch / "media", found, chance)
            return found
        with postgresql_server(durable=True) as server:
            url = ""
            for number in range(times):
                if number % _KILLS == 0:
                    url = server.new_database()
                media = folder / str(number // _KILLS)
                kill_once(url, media, found, chance, server)
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, look and print; see the module's text. Status 1 when something was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks kill-runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--db", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    began = time.monotonic()
    found = kill_runs(given.db, given.times, seed=given.seed)
    report = {**asdict(found), "passed": found.passed, "seconds": round(time.monotonic() - began)}
    print(json.dumps(report, indent=2))
    if given.json is not None:
        known = json.loads(given.json.read_text()) if given.json.exists() else {}
        known |= {"machine": describe_machine(), given.db: report}
        given.json.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return 0 if found.passed else 1
