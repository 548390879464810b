"""How long a thousand new sightings take among clustered ones.

    python -m benchmarks clusters --sightings 100000 --json benchmarks/results/clusters.json

Synthetic embeddings, four sightings a person on average, in a database; ``load`` reads all of them
into memory, as a process does once; ``increment`` finds the clusters of a thousand new ones and
writes them, three times.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.cards import load_card
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.core.types import Floats
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.transactions import deciding
from facestream.pipeline.sightings.unknowns import Unknowns
from facestream.pipeline.storage.history import new_cluster, place
from facestream.pipeline.storage.schema import SightingRow
from sqlalchemy import select

from .stored_faces import store_faces

DIM, EACH, NEW, TRIES = 128, 4, 1000, 3
SIGMA = 0.7


def faces(people: np.ndarray[Any, Any], centres: Floats, chance: np.random.Generator) -> Floats:
    """A face of each person: two of one have a cosine of 0.7."""
    noise = chance.standard_normal((len(people), DIM), dtype=np.float32)
    return np.asarray(centres[people] + 0.65 * noise, np.float32)


def fill(path: Path, count: int, centres: Floats, chance: np.random.Generator) -> None:
    """Store sightings that have clusters: those of a person in one."""
    people = np.sort(chance.integers(len(centres), size=count))
    model = load_card("vae_encoder").id
    mu = faces(people, centres, chance)
    order = chance.permutation(count)
    store_faces(path, mu[order], _logvar(count), _sigma(count), model_id=model)
    with Sightings(path) as sightings, deciding(sightings) as connection:
        ids = list(connection.scalars(select(SightingRow.id).order_by(SightingRow.id)))
        made: dict[int, int] = {}
        for person in people[order].tolist():
            if person not in made:
                made[person] = new_cluster(connection, model)
        rows = zip(ids, people[order].tolist(), strict=True)
        place(connection, ((row, made[person], True, False) for row, person in rows))


def _logvar(count: int) -> Floats:
    return np.full((count, DIM), 2 * np.log(SIGMA), np.float32)


def _sigma(count: int) -> Floats:
    return np.full(count, SIGMA, np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks clusters", description=__doc__)
    parser.add_argument("--sightings", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    chance = np.random.default_rng(0)
    report: dict[str, Any] = {"machine": describe_machine(), "sightings": given.sightings}
    centres = chance.standard_normal((given.sightings // EACH, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "house.db")
        began = time.perf_counter()
        fill(path, given.sightings, centres, chance)
        report["fill_s"] = round(time.perf_counter() - began, 1)
        with Sightings(path) as sightings:
            unknowns = Unknowns(sightings)
            began, used = time.perf_counter(), time.process_time()
            assert unknowns.update() == 0
            report["load_s"] = round(time.perf_counter() - began, 2)
            report["load_cpu_s"] = round(time.process_time() - used, 2)
            report["increments"] = []
            for number in range(TRIES):
                # Half of them are seen for the first time.
                known = chance.integers(len(centres), size=NEW // 2)
                fresh = chance.standard_normal((NEW // 2, DIM), dtype=np.float32)
                mu = np.concatenate([faces(known, centres, chance), fresh])
                first = given.sightings + number * NEW
                store_faces(
                    *(path, mu, _logvar(NEW), _sigma(NEW)),
                    model_id=load_card("vae_encoder").id,
                    first=first,
                )
                began, used = time.perf_counter(), time.process_time()
                done = unknowns.update()
                row = {
                    "new": done,
                    "seconds": round(time.perf_counter() - began, 3),
                    "cpu_seconds": round(time.process_time() - used, 3),
                }
                report["increments"].append(row)
                print(json.dumps(row), flush=True)
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report["load_average"] = describe_machine()["load_average"]
    print(json.dumps(report))
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0
