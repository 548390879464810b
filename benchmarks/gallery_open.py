"""How fast a large gallery opens, answers, and takes in a change.

    python -m benchmarks gallery-open --photos 1000000 --json benchmarks/results/gallery_open.json

A gallery of synthetic people, four photos each, is written with SQL (crops are one byte), then
opened in processes of their own.
``first answer`` is from opening to the first search's result, without importing Python modules.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.records import Embedded, Face
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.gallery.templates import BLOCK

from . import ROOT

DIM = 128
PHOTOS = 4
NOW = "2026-01-01T00:00:00.000000+00:00"


def fill(path: Path, photos: int) -> None:
    """Write the gallery."""
    Gallery(path).close()
    chance = np.random.default_rng(0)
    box, landmarks = bytes(16), bytes(40)

    def blocks() -> Iterator[tuple[int, bytes, bytes, bytes]]:
        centres = chance.standard_normal((photos // PHOTOS + 1, DIM), dtype=np.float32)
        logvar = np.full((BLOCK, DIM), -1, np.float32).tobytes()
        for block in range(photos // BLOCK + 1):
            ids = np.arange(block * BLOCK, (block + 1) * BLOCK)
            people = np.where((ids > 0) & (ids <= photos), 1 + (ids - 1) // PHOTOS, 0)
            mu = centres[np.minimum(people, len(centres) - 1)]
            mu += 0.65 * chance.standard_normal(mu.shape, dtype=np.float32)
            yield block, people.tobytes(), mu.tobytes(), logvar

    connection = sqlite3.connect(path)
    connection.executemany(
        "INSERT INTO people VALUES (?, ?, ?, ?)",
        ((n, f"Person {n}", f"person {n}", NOW) for n in range(1, photos // PHOTOS + 1)),
    )
    connection.executemany(
        "INSERT INTO photos VALUES (?, ?, ?, ?, 112, 112, ?, ?, 1.0, x'00', ?)",
        (
            (n, 1 + (n - 1) // PHOTOS, f"{n}.jpg", f"{n:064x}", box, landmarks, NOW)
            for n in range(1, photos + 1)
        ),
    )
    connection.executemany(
        "INSERT INTO templates (block, model_id, person_ids, mu, logvar) VALUES (?, 'm', ?, ?, ?)",
        blocks(),
    )
    connection.execute("INSERT INTO meta VALUES ('model_id', 'm')")
    connection.commit()
    connection.close()


def face(name: str) -> Face:
    """A face to enrol."""
    return Face(
        path=name,
        sha256=name,
        width=112,
        height=112,
        box=np.zeros(4, np.float32),
        landmarks=np.zeros((5, 2), np.float32),
        score=1.0,
        crop=np.zeros((112, 112, 3), np.uint8),
    )


def opened(path: Path) -> dict[str, Any]:
    """One opening, and changes; in a process of its own."""
    chance = np.random.default_rng(1)
    queries = chance.standard_normal((32, DIM), dtype=np.float32)
    times: dict[str, Any] = {}
    store = Store(path, create="never")
    with closing(store), Gallery(path, create="never") as gallery:
        times["first_answer_s"], _ = timed(lambda: gallery.search(queries[:1]))
        times["templates"] = gallery.templates()
        for batch in (1, 32):
            tries = [timed(lambda b=batch: gallery.search(queries[:b]))[0] for _ in range(5)]
            times[f"search_{batch}_ms"] = round(1000 * float(np.median(tries)), 1)
        refreshed: list[float] = []
        for number in range(5):
            mu = chance.standard_normal(DIM, dtype=np.float32)
            store.add_face(
                "New", face(f"{time.time_ns()}-{number}"), Embedded("m", mu, np.zeros_like(mu))
            )
            refreshed.append(timed(gallery.refresh)[0])
            if gallery.search(mu[None], 1).names != (("New",),):
                raise SystemExit("a new photo was not found")
        times["refresh_after_an_addition_ms"] = round(1000 * float(np.median(refreshed)), 1)
        times["removal_s"], _ = timed(lambda: store.remove("New"))
        seconds, _ = timed(gallery.refresh)
        times["refresh_after_a_removal_ms"] = round(1000 * seconds, 1)
        info = gallery.index_info()
        times["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        times["index"] = f"{info.kind} on {info.device}"
    return times


def timed(call: Any) -> tuple[float, Any]:
    """Seconds, and what the call returned."""
    began = time.perf_counter()
    result = call()
    return round(time.perf_counter() - began, 4), result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gallery-open",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.open is not None:
        print(json.dumps(opened(given.open)))
        return 0
    report: dict[str, Any] = {"machine": describe_machine(), "photos": given.photos, "openings": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "people.db")
        report["fill_s"], _ = timed(lambda: fill(path, given.photos))
        report["gallery_mb"] = round(path.stat().st_size / 1e6)
        for what in ("first", "second"):
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks", "gallery-open", "--open", str(path)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            row = {
                "opening": what,
                **json.loads(ran.stdout),
                "load": describe_machine()["load_average"],
            }
            report["openings"].append(row)
            print(json.dumps(row), flush=True)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0
