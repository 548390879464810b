"""What the kinds of index cost, and what they miss: the figures behind ``engines.index.choice``.

    python benchmarks/index.py --json benchmarks/results/index.json [--real EMBEDDINGS.npz]

Galleries of 10,000, 100,000 and 1,000,000 embeddings of 128: four photos a person, people drawn
with the mean and covariance of the shipped cohort (12,396 real strangers), two photos of a person
at a cosine of 0.7. Half of the probes are further photos of people in the gallery, half are of
strangers. Recall is compared with exact search: how often the nearest photo is the same, and how
many of the ten nearest are. ``--real`` adds a gallery of real faces from a cache of
``facestream-train evaluate`` (folders of the members are the people).

All on one thread, building too. Milliseconds are medians; the machine's load stands beside them.
Candidates that did not make it (float16, 8 bits, both with exact similarities) are measured as
well. The kinds take turns in one process; each is freed before the next is built.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.index.approximate import HnswCore, IvfPqCore
from facestream.engines.index.cores import (
    Core,
    KnnCore,
    Positions,
    Vectors,
)
from facestream.engines.index.layered import CompactionPolicy, LayeredIndex
from facestream.engines.index.library import load_faiss, single_threaded
from facestream.pipeline.bench.machine import describe
from facestream.pipeline.bench.vectors import cohort

PHOTOS = 4
MATES = 0.7
PROBES = 400
K = 10
NEVER = CompactionPolicy(tail_share=None, deleted_share=None)


class ScalarCore:
    """Everything, in fewer bits; what it finds is scored again from float32."""

    exact = False
    max_k = 2048

    def __init__(self, vectors: Vectors, *, bits: str) -> None:
        faiss = load_faiss()
        kind = getattr(faiss.ScalarQuantizer, bits)
        self._index = faiss.IndexScalarQuantizer(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        self._index.train(np.ascontiguousarray(vectors[:100_000]))
        self._index.add(vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """See ``Core``."""
        with single_threaded():
            found: tuple[Vectors, Positions] = self._index.search(queries, k)
        return found


KINDS: dict[str, Callable[[Vectors], Core]] = {
    "flat": KnnCore,
    "float16": partial(ScalarCore, bits="QT_fp16"),
    "8 bits": partial(ScalarCore, bits="QT_8bit"),
    "ivfpq": IvfPqCore,
    "hnsw": HnswCore,
}


def unit(vectors: Vectors) -> Vectors:
    """Rows of length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / lengths, np.float32)


def drawn(count: int, chance: np.random.Generator) -> Vectors:
    """Embeddings like those of strangers."""
    real = cohort()
    values, axes = np.linalg.eigh(np.cov(real, rowvar=False))
    root = (np.sqrt(np.maximum(values, 0))[:, None] * axes.T).astype(np.float32)
    noise = chance.standard_normal((count, real.shape[1]), dtype=np.float32)
    return unit(real.mean(axis=0) + noise @ root)


def photos_of(people: Vectors, chance: np.random.Generator) -> Vectors:
    """A photo of each; two of one person are at a cosine of about ``MATES``."""
    other = drawn(len(people), chance)
    other = unit(other - (other * people).sum(axis=1, keepdims=True) * people)
    return unit(np.sqrt(MATES) * people + np.sqrt(1 - MATES) * other)


def synthetic(count: int) -> tuple[Vectors, Vectors, Vectors]:
    """A gallery N×128, and probes of its people and of strangers."""
    chance = np.random.default_rng(5)
    people = drawn(count // PHOTOS, chance)
    gallery = np.empty((count, people.shape[1]), np.float32)
    for photo in range(PHOTOS):
        gallery[photo::PHOTOS] = photos_of(people, chance)
    known = photos_of(people[chance.integers(0, len(people), PROBES // 2)], chance)
    return gallery, known, drawn(PROBES // 2, chance)


def real(path: Path) -> tuple[Vectors, Vectors, Vectors]:
    """Of each person all photos but one, which is a probe; a tenth of the people as strangers."""
    with np.load(path) as saved:
        members, values = saved["members"].tolist(), unit(saved["values"][:, 0])
    people = np.unique([member.rpartition("/")[0] for member in members], return_inverse=True)[1]
    chance = np.random.default_rng(5)
    stranger = chance.random(people.max() + 1) < 0.1
    first = np.zeros(len(people), np.bool_)
    first[np.unique(people, return_index=True)[1]] = True
    away = stranger[people]
    known, nobody = np.flatnonzero(first & ~away), np.flatnonzero(first & away)
    return (
        np.ascontiguousarray(values[~first & ~away]),
        values[chance.choice(known, min(PROBES // 2, len(known)), replace=False)],
        values[chance.choice(nobody, min(PROBES // 2, len(nobody)), replace=False)],
    )


def milliseconds(call: Callable[[], object], *, least: int = 5, seconds: float = 1.0) -> float:
    """The median of a call's time."""
    call()
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < least or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return round(1000 * statistics.median(taken), 3)


def recall(found: Positions, expected: Positions) -> dict[str, float]:
    """How often the nearest is the same, and how many of the ten nearest are."""
    same = [
        len(set(a) & set(b)) / K for a, b in zip(found.tolist(), expected.tolist(), strict=True)
    ]
    return {
        "recall@1": round(float((found[:, 0] == expected[:, 0]).mean()), 4),
        "recall@10": round(float(np.mean(same)), 4),
    }


def measure(
    name: str, gallery: Vectors, known: Vectors, nobody: Vectors, expected: Sequence[Positions]
) -> dict[str, Any]:
    """One kind over one gallery."""
    began = time.perf_counter()
    core = KINDS[name](gallery)
    build = time.perf_counter() - began
    index = LayeredIndex(gallery.shape[1], build=lambda _: core, policy=NEVER)
    index.adopt(np.arange(len(gallery)), gallery)
    row: dict[str, Any] = {
        "kind": name,
        "templates": len(gallery),
        "build_s": round(build, 1),
    }
    for batch in (1, 32):
        starts = iter(range(10**9))

        def search(batch: int = batch, starts: Any = starts) -> object:
            at = next(starts) * batch % (len(known) - batch + 1)
            return index.search(known[at : at + batch], K)

        row[f"ms_batch_{batch}"] = milliseconds(search)
    for what, queries, exact in zip(("known", "strangers"), (known, nobody), expected, strict=True):
        row[what] = recall(index.search(queries, K)[1], exact)
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--real", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    load_faiss().omp_set_num_threads(1)
    report: dict[str, Any] = {"machine": describe(), "results": []}
    sets: list[tuple[str, Callable[[], tuple[Vectors, Vectors, Vectors]]]] = [
        ("synthetic", partial(synthetic, count)) for count in given.templates
    ]
    if given.real is not None:
        sets.insert(0, (f"real: {given.real.stem}", partial(real, given.real)))
    for what, make in sets:
        gallery, known, nobody = make()
        oracle = KnnCore(gallery)
        expected = [oracle.search(queries, K)[1] for queries in (known, nobody)]
        for kind in given.kinds:
            row = {"gallery": what, **measure(kind, gallery, known, nobody, expected)}
            row["load"] = describe()["load_average"]
            report["results"].append(row)
            print(json.dumps(row), flush=True)
        _write(given.json, report)
    return 0


def _write(path: Path | None, report: dict[str, Any]) -> None:
    """After each gallery: the largest takes a while. What was not measured now stays."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            old = json.loads(path.read_text(encoding="utf-8"))
            report.setdefault("note", old.get("note", ""))
            now = {_what(row) for row in report["results"]}
            old_rows = [row for row in old["results"] if _what(row) not in now]
            report["results"] = old_rows + report["results"]
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _what(row: dict[str, Any]) -> tuple[Any, ...]:
    return row.get("gallery"), row.get("kind"), row["templates"]


if __name__ == "__main__":
    sys.exit(main())
