"""A large database of sightings, of people who come again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from facestream.pipeline.core.location import Location
from facestream.pipeline.storage.database import alembic_config, backend_of
from facestream.pipeline.storage.transactions import writing

DIM = 128
CAMERAS = 8
ENROLLED = 50
# Sightings of one person; the enrolled come as often as others.
VISITS = 20
DAYS = 90
NOISE = 0.65
END = datetime(2026, 11, 1, tzinfo=UTC)
_PART = 5000


def centres(rows: int) -> Any:
    """The people: a vector each."""
    chance = np.random.default_rng(0)
    return chance.standard_normal((max(ENROLLED + 1, rows // VISITS), DIM), dtype=np.float32)


def fill(location: Location, rows: int, *, model: str, revision: str) -> None:
    """Make a database of this revision of the schema (at least 0004), with so many sightings."""
    backend = backend_of(location)
    backend.prepare("if_missing")
    engine = backend.engine()
    try:
        with writing(engine) as connection:
            from alembic import command

            with backend.upgrading(connection):
                command.upgrade(alembic_config(connection), revision)
        tables = sa.MetaData()
        tables.reflect(engine, only=["people", "runs", "sightings", "sighting_templates"])
        stamp = END.isoformat(timespec="microseconds")
        with writing(engine) as connection:
            connection.execute(
                sa.insert(tables.tables["people"]),
                [
                    {"id": n, "name": f"Person {n}", "name_key": f"person {n}",
                     "created_at": stamp}
                    for n in range(1, ENROLLED + 1)
                ],
            )  # fmt: skip
            connection.execute(
                sa.insert(tables.tables["runs"]),
                [{"id": "0" * 32, "host": "h", "process": "1 1", "started_at": stamp,
                  "alive_at": stamp}],
            )  # fmt: skip
        for part in _rows(rows, model):
            with writing(engine) as connection:
                for name, some in part.items():
                    _insert(connection, tables.tables[name], some)
        with writing(engine) as connection:
            names = {"people": ENROLLED, "sightings": rows, "sighting_templates": rows}
            backend.set_counters(connection, names)
    finally:
        engine.dispose()


def _rows(rows: int, model: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
    people = centres(rows)
    chance = np.random.default_rng(1)
    step = timedelta(days=DAYS) / rows
    logvar = np.full(DIM, -1, "<f2").tobytes()
    box = np.array([10, 10, 90, 120], "<f4").tobytes()
    for start in range(0, rows, _PART):
        count = min(_PART, rows - start)
        who = chance.integers(0, len(people), count)
        mu = people[who] + NOISE * chance.standard_normal((count, DIM), dtype=np.float32)
        sigmas = chance.uniform(0.3, 0.8, count)
        cameras = chance.integers(0, CAMERAS, count)
        sightings, templates = [], []
        for number in range(count):
            row = start + number + 1
            person = int(who[number]) + 1
            known = person <= ENROLLED
            begun = END - timedelta(days=DAYS) + row * step
            sightings.append(
                {
                    "id": row, "uid": f"{row:032x}", "run_id": "0" * 32,
                    "source": f"camera {cameras[number]}", "file": None, "track_id": row % 1000,
                    "state": "closed", "seen_at": begun.isoformat(timespec="microseconds"),
                    "start_utc": begun.isoformat(timespec="microseconds"),
                    "end_utc": (begun + timedelta(seconds=4)).isoformat(timespec="microseconds"),
                    "start_pts": float(row), "end_pts": float(row + 4), "box": box,
                    "best_pts": float(row + 1), "best_score": 0.99, "faces": 40, "looks": 6,
                    "person_id": person if known else None,
                    "verdict": "known" if known else ("stranger" if person % 3 else "unsure"),
                    "similarity": 0.6, "probability": 0.99,
                    "uncertainty": float(sigmas[number]), "clearest": float(sigmas[number]),
                    "reason": None, "flat": False, "candidates": None, "model_id": model,
                }
            )  # fmt: skip
            templates.append(
                {"id": row, "sighting_id": row, "model_id": model,
                 "mu": mu[number].astype("<f2").tobytes(), "logvar": logvar}
            )  # fmt: skip
        yield {"sightings": sightings, "sighting_templates": templates}


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(table), rows)
        return
    names = list(rows[0])
    driver: Any = connection.connection.driver_connection
    command = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    with driver.cursor().copy(command) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
