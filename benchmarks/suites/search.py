"""Search by the size of the gallery, the batch and the kind of index."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from facestream.engines.index import IndexKind, open_index
from facestream.engines.index.choice import MIN_HNSW, MIN_IVFPQ
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.types import Floats
from numpy.typing import NDArray

from ..embeddings import cohort, nearest, probes, write_gallery
from ..peers import lacks_cuda, lacks_modules
from ..suite import Case, Options, Prepared, Suite, sort_out, stepper

NUMPY, DEFAULT = "numpy matmul + argpartition", "faiss default"
TEMPLATES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK = 100_000
BATCHES = (1, 32, 256)
K = 8
_LEAST = {"facestream hnsw": MIN_HNSW, "facestream ivfpq": MIN_IVFPQ}
# Copies of the gallery at once: FAISS's own, the graph's and its links, and the file in the cache.
_COPIES = 4
# An approximate neighbour counts as right where it is as similar as the best, to float32.
_CLOSE = 1e-5

Find = Callable[[Floats], NDArray[np.int64]]


class SearchSuite(Suite):
    """See ``suite.Suite``."""

    name = "search"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Every kind of index of ours that is usable, numpy, and FAISS as it comes."""
        faiss = lacks_modules(self.name, "", ("faiss",), "pip install faiss-cpu")
        kinds = [f"facestream {kind}" for kind in ("flat", "hnsw", "ivfpq")]
        found: dict[str, Missing | None] = {
            name: None if faiss is None else replace(faiss, name=name) for name in kinds
        }
        if faiss is not None:
            found["facestream numpy"] = None
        found["facestream gpu"] = lacks_cuda(self.name, "facestream gpu")
        if options.peers:
            found[NUMPY] = None
            found[DEFAULT] = None if faiss is None else replace(faiss, name=DEFAULT)
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Sizes × batches; what does not fit into memory or on disk is left out by name."""
        dim = cohort().shape[1]
        cases: list[Case] = []
        lacking: list[Missing] = []
        largest = 0
        for count in TEMPLATES:
            if options.quick and count > QUICK and "templates" not in options.only:
                lacking.append(Missing(self.name, f"{count:,} templates", "--quick"))
                continue
            keys: list[dict[str, Scalar]] = [{"templates": count, "batch": b} for b in BATCHES]
            keys = [key for key in keys if options.takes(key)]
            if not keys:
                continue
            reason = _no_room(count * dim * 4, options.folder)
            if reason is not None:
                lacking.append(Missing(self.name, f"{count:,} templates", reason))
                continue
            largest = max(largest, count)
            for name, least in _LEAST.items():
                if count < least:
                    reason = f"begins at {least:,} templates"
                    lacking.append(Missing(self.name, f"{name}, {count:,} templates", reason))
            given = {
                "gallery": str(options.folder / "gallery.npy"),
                "queries": str(options.folder / f"queries-{count}.npy"),
            }
            cases += [Case(key, "queries/s", given, group=str(count)) for key in keys]
        if largest:
            write_gallery(options.folder / "gallery.npy", largest)
        for case in {case.group: case for case in cases}.values():
            # The first half are people in the gallery.
            np.save(case.given["queries"], np.concatenate(probes(_gallery(case), 256)))
        return cases, lacking

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """Build the index; the queries are half of people in the gallery."""
        count, batch = int(str(case.key["templates"])), int(str(case.key["batch"]))
        if count < _LEAST.get(contender, 0):
            return None
        queries = np.load(case.given["queries"])
        find, detail = _index(contender, case.given["gallery"], count)

        def answer() -> list[int]:
            parts = [find(queries[i : i + batch])[:, 0] for i in range(0, len(queries), batch)]
            return [int(best) for best in np.concatenate(parts)]

        return Prepared(stepper(find, queries, batch), answer, 2 * batch, detail)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """recall@1 against comparing everything, for people in the gallery and for strangers."""
        gallery = _gallery(case)
        queries = np.load(case.given["queries"])
        true = nearest(gallery, queries)
        checks: dict[str, dict[str, Scalar]] = {}
        for name, found in answers.items():
            ids = np.asarray(found)
            own = (queries * np.asarray(gallery[np.maximum(ids, 0)])).sum(axis=1)
            right = (ids >= 0) & (own >= true - _CLOSE)
            half = len(right) // 2
            checks[name] = {
                "recall_known": round(float(right[:half].mean()), 4),
                "recall_strangers": round(float(right[half:].mean()), 4),
            }
        return checks


def _no_room(bytes_: int, folder: Path) -> str | None:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    if _COPIES * bytes_ > free:
        return f"needs {_COPIES * bytes_ / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
    free = shutil.disk_usage(folder).free
    if bytes_ > 0.9 * free:
        return f"needs {bytes_ / 1e9:.1f} GB on disk, {free / 1e9:.1f} GB are free"
    return None


def _gallery(case: Case) -> Floats:
    everything = np.load(case.given["gallery"], mmap_mode="r")
    return cast(Floats, everything[: int(str(case.key["templates"]))])


def _index(contender: str, path: str, count: int) -> tuple[Find, dict[str, Any]]:
    """An index over the first ``count`` vectors of the file; kept for the next batch size."""
    if (contender, path, count) not in _built:
        _built.clear()
        _built[contender, path, count] = _build(contender, np.load(path, mmap_mode="r")[:count])
    return _built[contender, path, count]


_built: dict[tuple[str, str, int], tuple[Find, dict[str, Any]]] = {}


def _build(contender: str, gallery: Floats) -> tuple[Find, dict[str, Any]]:
    if contender == NUMPY:
        return _numpy(gallery), {"backend": "numpy"}
    if contender == DEFAULT:
        return _faiss(gallery)
    kind = cast(IndexKind, contender.removeprefix("facestream "))
    index = open_index(gallery.shape[1], kind=kind, expected=len(gallery))
    index.adopt(np.arange(len(gallery), dtype=np.int64), gallery)
    detail = {"kind": index.kind, "device": index.device, "reason": index.reason}
    return lambda queries: index.search(queries, K)[1], detail


def _numpy(gallery: Floats) -> Find:
    vectors = np.array(gallery)  # not from the file

    def find(queries: Floats) -> NDArray[np.int64]:
        scores = queries @ vectors.T
        some = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, some, axis=1), axis=1)
        return np.take_along_axis(some, order, axis=1).astype(np.int64)

    return find


def _faiss(gallery: Floats) -> tuple[Find, dict[str, Any]]:
    """``IndexFlatIP`` with FAISS's own threads and thresholds."""
    import faiss

    index = faiss.IndexFlatIP(gallery.shape[1])
    for start in range(0, len(gallery), 100_000):
        index.add(np.ascontiguousarray(gallery[start : start + 100_000]))
    detail = {"backend": f"faiss {faiss.__version__}", "threads": faiss.omp_get_max_threads()}

    def find(queries: Floats) -> NDArray[np.int64]:
        return np.asarray(index.search(np.ascontiguousarray(queries), K)[1], np.int64)

    return find, detail


SUITE = SearchSuite()
