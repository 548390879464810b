"""How the rate grows with threads, batches and sources, and the efficiency."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.devices import usable_cpus
from facestream.engines.index import open_index
from facestream.engines.index.library import load_faiss
from facestream.engines.options import Serving
from facestream.pipeline import Pipeline, Settings
from facestream.pipeline.cli.bench_results import Missing, Row, Scalar
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.encoder import Encoder

from ..embeddings import probes, write_gallery
from ..peers import EXTRA, lacks_modules, onnxruntime_encoder
from ..pictures import SIZES, crops, render, write_clip
from ..suite import Case, Options, Prepared, Suite, sort_out, stepper
from .e2e import copies

OURS, RUNTIME = "facestream", "onnxruntime"
TEMPLATES = 100_000
_FRAMES = {"full": 60, "quick": 20}

# What grows, and the rate one would have if it grew in proportion.
_GROWS = ("threads", "batch", "sources")


class ScaleSuite(Suite):
    """See ``suite.Suite``."""

    name = "scale"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Ours, and ONNX Runtime for the encoder."""
        found: dict[str, Missing | None] = {OURS: None}
        if options.peers:
            found[RUNTIME] = lacks_modules(self.name, RUNTIME, ("onnxruntime",), EXTRA)
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Each part of the pipeline over what makes it faster."""
        threads = _doubling(usable_cpus())
        batches = (1, 8, 32) if options.quick else (1, 2, 4, 8, 16, 32, 64, 128)
        sources = (1, 2) if options.quick else (1, 2, 4, 8)
        keys: list[tuple[dict[str, Scalar], str]] = []
        keys += [({"part": "detector", "threads": n}, "pictures/s") for n in threads]
        keys += [({"part": "encoder", "threads": n, "batch": 8}, "faces/s") for n in threads]
        keys += [({"part": "encoder", "batch": n}, "faces/s") for n in batches]
        keys += [({"part": "search", "threads": n, "batch": 256}, "queries/s") for n in threads]
        keys += [({"part": "pipeline", "sources": n}, "frames/s") for n in sources]
        keys = [(key, unit) for key, unit in keys if options.takes(key)]
        given = {
            "folder": str(options.folder),
            "frames": _FRAMES["quick" if options.quick else "full"],
        }
        for part in {str(key["part"]) for key, _ in keys}:
            _write(part, options.folder)
        # A fresh process for each: threads of an earlier case would still be there.
        return [Case(key, unit, given, group=json.dumps(key)) for key, unit in keys], []

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """The part of the pipeline that the case is about."""
        part, folder = str(case.key["part"]), Path(case.given["folder"])
        if contender == RUNTIME:
            return _runtime(case, folder) if part == "encoder" else None
        if part == "detector":
            return _detector(case, folder)
        if part == "encoder":
            return _encoder(case, folder)
        if part == "search":
            return _search(case, folder)
        return _pipeline(case, folder)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """How much was found: more threads must not change it."""
        return {name: {"found": found} for name, found in answers.items()}

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """With the efficiency: the rate over that of the least, and per unit of what grows."""
        return [_with_efficiency(row, rows) for row in rows]


def grows(case: Mapping[str, Scalar]) -> str:
    """What grows in a case: the first of threads, batch and sources that it has."""
    return next(name for name in _GROWS if name in case)


def _with_efficiency(row: Row, rows: Sequence[Row]) -> Row:
    what = grows(row.case)
    alike = [
        other
        for other in rows
        if other.contender == row.contender
        and grows(other.case) == what
        and {**other.case, what: None} == {**row.case, what: None}
    ]
    least = min(alike, key=lambda other: float(str(other.case[what])))
    times = row.median / least.median
    more = float(str(row.case[what])) / float(str(least.case[what]))
    checks = {**row.checks, "times": round(times, 3), "efficiency": round(times / more, 3)}
    return replace(row, checks=checks)


def _doubling(most: int) -> list[int]:
    """1, 2, 4 … and ``most``."""
    return sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most})


def _write(part: str, folder: Path) -> None:
    if part == "detector":
        np.save(folder / "scale-pictures.npy", render(SIZES["720p"], 3, count=8))
    elif part == "encoder":
        np.save(folder / "scale-crops.npy", crops(128))
    elif part == "search":
        write_gallery(folder / "scale-gallery.npy", TEMPLATES)
        gallery = np.load(folder / "scale-gallery.npy", mmap_mode="r")
        np.save(folder / "scale-queries.npy", np.concatenate(probes(gallery, 128)))
    else:
        write_clip(folder / "scale.mp4", 2, seconds=4)


def _threads(case: Case) -> int | None:
    given = case.key.get("threads")
    return None if given is None else int(str(given))


def _detector(case: Case, folder: Path) -> Prepared:
    pictures = list(np.load(folder / "scale-pictures.npy"))
    detector = Mtcnn(serving=Serving(threads=_threads(case)))

    def step() -> float:
        return float(len(detector.detect_batch(pictures)))

    def answer() -> int:
        return sum(len(faces.boxes) for faces in detector.detect_batch(pictures))

    return Prepared(step, answer, 72, {"backend": detector.backend}, detector.close)


def _encoder(case: Case, folder: Path) -> Prepared:
    faces, batch = np.load(folder / "scale-crops.npy"), int(str(case.key["batch"]))
    encoder = Encoder(serving=Serving(threads=_threads(case)), max_batch=batch)
    step = stepper(lambda some: encoder.embed(some), faces, batch)
    detail = {"backend": encoder.backend, "precision": encoder.precision}
    return Prepared(step, lambda: len(faces), 4 * batch, detail, encoder.close)


def _runtime(case: Case, folder: Path) -> Prepared:
    faces, batch = np.load(folder / "scale-crops.npy"), int(str(case.key["batch"]))
    embed, provider = onnxruntime_encoder(_threads(case))
    detail = {"backend": "onnxruntime", "device": provider}
    return Prepared(stepper(embed, faces, batch), lambda: len(faces), 4 * batch, detail)


def _search(case: Case, folder: Path) -> Prepared:
    faiss = load_faiss()
    faiss.omp_set_num_threads(_threads(case))
    gallery = np.load(folder / "scale-gallery.npy", mmap_mode="r")
    queries, batch = np.load(folder / "scale-queries.npy"), int(str(case.key["batch"]))
    index = open_index(gallery.shape[1], kind="flat", expected=len(gallery))
    index.adopt(np.arange(len(gallery), dtype=np.int64), gallery)
    step = stepper(lambda some: index.search(some, 8), queries, batch)

    def answer() -> int:
        return len(np.unique(index.search(queries, 1)[1]))

    return Prepared(step, answer, 2 * batch, {"kind": index.kind})


def _pipeline(case: Case, folder: Path) -> Prepared:
    """Whole runs over copies of one clip; loading the networks does not count."""
    clips = copies(folder / "scale.mp4", int(str(case.key["sources"])))
    settings = Settings().with_values({"runtime.max_frames": case.given["frames"]})
    faces = 0

    def step() -> tuple[float, float]:
        nonlocal faces
        with Pipeline(clips, settings=settings, frames="searched") as pipeline:
            report = pipeline.run()
        faces = report.faces
        return report.frames, report.seconds

    return Prepared(step, lambda: faces)


SUITE = ScaleSuite()
