"""A million sightings: the search, pages of the timeline, what is stored in a second.

    python -m benchmarks sightings --rows 1000000 --db sqlite --json sightings.json
    python -m benchmarks sightings --rows 100000 --db postgresql

``sqlite`` is a file in a new folder, ``postgresql`` a server that is started for this (Debian's
package); a URL of an empty database may be given instead. The database is filled with the schema
``--since``, then upgraded, then measured in a process of its own. With ``--json`` the result is
put beside those of the other databases in the file.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.engines.cards import load_card
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.core.config import RecognitionSettings
from facestream.pipeline.core.events import Appeared, FusedTemplate, Left, Moment
from facestream.pipeline.core.location import DatabaseUrl, locate
from facestream.pipeline.core.types import Image
from facestream.pipeline.identity.grouping import open_grouping
from facestream.pipeline.recognition.encoder import DEFAULT_MODEL
from facestream.pipeline.sightings import SightingFilter, Sightings
from facestream.pipeline.sightings.search import SightingIndex
from facestream.pipeline.sightings.store import cursor_at
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.database import REVISIONS, open_database

from tests.servers.postgresql import postgresql_server

from . import ROOT
from .sightings_fill import DIM, END, NOISE, centres, fill

SEARCHES = 40
STORED = 1000
_DAY = END - timedelta(days=30)
FILTERS = {
    "all": SightingFilter(),
    "camera": SightingFilter(sources=("camera 3",)),
    "two cameras": SightingFilter(sources=("camera 3", "camera 4")),
    "a day": SightingFilter(since=_DAY, until=_DAY + timedelta(days=1)),
    "name": SightingFilter(names=("Person 7",)),
    "unknown": SightingFilter(names=("unknown",)),
    "verdict": SightingFilter(verdicts=("unsure",)),
    "two verdicts": SightingFilter(verdicts=("known", "unsure")),
    "all of them": SightingFilter(
        sources=("camera 3", "camera 4"),
        since=_DAY - timedelta(days=30),
        until=_DAY,
        names=("Person 7", "Person 8"),
        verdicts=("known",),
    ),
    "nothing": SightingFilter(sources=("camera 3",), names=("Nobody",)),
    "camera, unknown, verdict": SightingFilter(
        sources=("camera 3",), names=("unknown",), verdicts=("stranger",)
    ),
}


def measure(location: str, media: Path, rows: int) -> dict[str, Any]:
    """All figures of a filled database; in a process of its own."""
    card = load_card(DEFAULT_MODEL)
    with Sightings(location, media=media) as store:
        found: dict[str, Any] = {"pages_ms": _pages(store)}
        index = SightingIndex(store, card.id, open_grouping(card, RecognitionSettings(), None))
        found["load_s"] = round(_seconds(index.refresh), 2)
        people = centres(rows)
        chance = np.random.default_rng(7)
        times, hits, used = [], [], time.process_time()
        for _ in range(SEARCHES):
            noise = NOISE * chance.standard_normal(DIM, dtype=np.float32)
            mu = people[chance.integers(len(people))] + noise
            began = time.perf_counter()
            hits.append(len(index.search(mu, sigma=0.4).hits))
            times.append(1000 * (time.perf_counter() - began))
        found["search_ms"] = _quantiles(times)
        # Where other work runs beside, this says more: of all threads, for a search.
        found["search_cpu_ms"] = round(1000 * (time.process_time() - used) / SEARCHES, 1)
        found["hits_median"] = float(np.median(hits))
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        found["stored_per_s"], found["stored_cpu_ms"] = {}, {}
        for what, pictures in (("rows", False), ("with pictures", True)):
            used = time.process_time()
            seconds = _seconds(functools.partial(_store, store, card.id, pictures))
            found["stored_per_s"][what] = round(STORED / seconds)
            found["stored_cpu_ms"][what] = round(1000 * (time.process_time() - used) / STORED, 2)
        found["refresh_ms"] = round(1000 * _seconds(index.refresh), 1)
        found["refreshed"] = 2 * STORED
    found["scan_ms"] = _scan(min(rows, 200_000))
    return found


def _pages(store: Sightings) -> dict[str, dict[str, float]]:
    """Of each filter the first page, and the slowest of ten pages that lie deep."""
    found = {}
    for name, wanted in FILTERS.items():
        first = [1000 * _seconds(functools.partial(store.page, wanted)) for _ in range(5)]
        deep = [0.0]
        # A cursor is a place in time: the pages before it need not be walked through.
        for step in range(10):
            cursor = cursor_at(END - timedelta(days=8 * step + 1), 2**31 - 1)
            deep.append(1000 * _seconds(functools.partial(store.page, wanted, cursor=cursor)))
        found[name] = {"first": round(float(np.median(first)), 1), "deep": round(max(deep), 1)}
    return found


def _store(store: Sightings, model: str, pictures: bool) -> None:
    """Sightings as a run stores them: they appear, and leave with embedding and pictures."""
    chance = np.random.default_rng(3)
    # As large as a JPEG of a real picture of that size.
    coarse = chance.integers(0, 255, (30, 40, 3)).astype(np.float32)
    large = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    picture: Image = large.clip(0, 255).astype(np.uint8)
    pictures_of_it: tuple[Image, Image] = picture, picture[:112, :112].copy()
    with SightingWriter(store) as writer:
        for number in range(STORED):
            uid, start = uuid.uuid4().hex, Moment.at(float(number), END.timestamp() + number)
            common: dict[str, Any] = {
                "source": "camera 1", "sighting": uid, "track_id": number, "model": model,
                "start": start,
            }  # fmt: skip
            writer.event(Appeared(at=start, box=(1, 2, 30, 40), **common), pace="waits")
            mu = chance.standard_normal(DIM, dtype=np.float32)
            event = Left(end=start, best_box=(1, 2, 30, 40), best_pts=1, best_score=0.9, faces=4,
                         looks=2, **common)  # fmt: skip
            event = event.with_template(FusedTemplate(mu, np.zeros_like(mu), 0.4))
            writer.event(event.with_image(*pictures_of_it) if pictures else event, pace="waits")


def _scan(rows: int) -> dict[str, float]:
    """Comparing one vector with so many: stored as float32, and as float16."""
    vectors = np.random.default_rng(0).standard_normal((rows, DIM), dtype=np.float32)
    halves = vectors.astype(np.float16)
    one = vectors[0]

    def as_half() -> None:
        for start in range(0, rows, 1024):
            halves[start : start + 1024].astype(np.float32) @ one

    times = {"float32": lambda: vectors @ one, "float16": as_half}
    found = {
        name: round(1000 * min(_seconds(call) for _ in range(5)), 1) for name, call in times.items()
    }
    return {"rows": rows, **found}


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _quantiles(times: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(times, q)), 1) for q in (50, 95)}


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The location that ``--db`` means."""
    if kind == "sqlite":
        yield str(folder / "house.db")
    elif kind == "postgresql":
        with postgresql_server(durable=True) as server:
            yield server.new_database()
    else:
        yield kind


def _megabytes(location: str) -> float:
    place = locate(location)
    if isinstance(place, Path):
        return round(place.stat().st_size / 1e6, 1)
    engine = open_database(place, create="never")
    with engine.connect() as connection:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())")
        size_mb = round(int(size.scalar_one()) / 1e6, 1)
    engine.dispose()
    return size_mb


def _analyze(location: str) -> None:
    """What the server does by itself after a while."""
    place = locate(location)
    if isinstance(place, DatabaseUrl):
        import psycopg

        with psycopg.connect(place.text, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill, upgrade, measure and print; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks sightings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--db", default="sqlite", help="sqlite, postgresql, or a URL")
    parser.add_argument("--since", default="0004", help="revision that is upgraded")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--media", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure is not None:
        print(json.dumps(measure(given.measure, given.media, given.rows)))
        return 0
    with tempfile.TemporaryDirectory() as folder, database(given.db, Path(folder)) as location:
        model = load_card(DEFAULT_MODEL).id
        place = locate(location)
        report: dict[str, Any] = {"rows": given.rows, "machine": describe_machine()}
        report["fill_s"] = round(
            _seconds(lambda: fill(place, given.rows, model=model, revision=given.since)), 1
        )
        report["upgrade"] = {
            "from": given.since,
            "to": REVISIONS[-1],
            "seconds": round(_seconds(lambda: open_database(place, create="never").dispose()), 2),
        }
        _analyze(location)
        report["database_mb"] = _megabytes(location)
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks", "sightings", "--measure", location,
             "--media", str(Path(folder, "media")), "--rows", str(given.rows)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode != 0:
            print(ran.stderr, file=sys.stderr)
            return 1
        report |= json.loads(ran.stdout)
    print(json.dumps(report, indent=2))
    if given.json is not None:
        kind = "sqlite" if isinstance(place, Path) else "postgresql"
        known = json.loads(given.json.read_text()) if given.json.exists() else {}
        known[f"{kind} {given.rows}"] = report
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return 0
