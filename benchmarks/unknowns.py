"""How well unnamed sightings become people.

    python -m benchmarks unknowns --json benchmarks/results/unknowns.json

People of LFW with five pictures or more, none of them enrolled, through facestream's own detector,
alignment and encoder; each picture is a sighting in a database, and they come in random order,
in ten increments. ``precision``: of the pairs that are put together, the share that is one
person's; ``recall``: of the pairs of one person, the share that is put together. ``STRICTER``
in ``pipeline/sightings/cluster_index.py`` was chosen on the people of the ``dev`` half; the
results are those of both. Intervals: 95 %, bootstrap by person.

``with the others``: people with fewer pictures are in the same database. ``clips``: a degraded
clip of each picture, fused as a track is (``--clips``; see ``identify-video``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import sigma
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.unknowns import Unknowns
from facestream.training.evaluation.clips import ClipRules
from facestream.training.evaluation.embeddings import embed_all
from facestream.training.evaluation.lfw import Half, half_of, open_zip, person_of, read_crops
from facestream.training.evaluation.videos import Trial, clip_faces_key
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from . import DATA
from .identify_video import CACHE, by_encoder, kept, see, template_of, tracks_of
from .stored_faces import cluster_of, store_faces

LEAST = 5
INCREMENTS = 10
DRAWS = 2000
# Clips of degraded faces: they take a second each to make.
CLIP_PEOPLE, CLIPS_EACH = 40, 6


class Faces(NamedTuple):
    """N sightings: embeddings N×D, sigma of the surest one, and whose each is."""

    mu: Floats
    logvar: Floats
    sigma: Floats
    person: NDArray[np.str_]


def of_pictures(lfw: Path, names: Sequence[str], encoder: Encoder) -> Faces:
    """Each picture as it is."""
    crops = read_crops(lfw, names, cache=CACHE)

    def make() -> dict[str, Floats]:
        mu, logvar = embed_all(encoder, crops.faces, what="embed", progress=_silent)
        return {"mu": mu, "logvar": logvar}

    found = kept(CACHE / f"unknowns_{crops.key}_{encoder.model_id}_{encoder.precision}.npz", make)
    whose = np.array([person_of(name) for name in names])
    return Faces(found["mu"], found["logvar"], sigma(found["logvar"]), whose)


def of_clips(lfw: Path, names: Sequence[str], encoder: Encoder) -> Faces:
    """A degraded clip of each picture; those without a face are left out."""
    rules = ClipRules()
    trial = Trial((names[0],), tuple(names), (-1,) * len(names), 0)
    looks, gallery = see(lfw, trial, rules, 2, _silent)
    found = by_encoder(encoder, looks, gallery, clip_faces_key(trial, rules), _silent)
    tracks = tracks_of(looks, found, len(names))
    there = [row for row, track in enumerate(tracks) if track is not None]
    fused = [template_of(track) for track in tracks if track is not None]
    clearest = [float(sigma(track.logvar).min()) for track in tracks if track is not None]
    return Faces(
        np.stack([one.mu for one in fused]),
        np.stack([one.logvar for one in fused]),
        np.array(clearest, np.float32),
        np.array([person_of(names[row]) for row in there]),
    )


def _silent(what: str, done: int, total: int) -> None:
    pass


def clustered(faces: Faces, model_id: str) -> NDArray[np.int64]:
    """The cluster of each face, stored and clustered increment by increment."""
    order = np.random.default_rng(0).permutation(len(faces.mu))
    found = np.empty(len(order), np.int64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "house.db")
        uids: list[str] = []
        step = -(-len(order) // INCREMENTS)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            uids += store_faces(
                *(path, faces.mu[rows], faces.logvar[rows], faces.sigma[rows]),
                model_id=model_id,
                first=start,
            )
            with Sightings(path) as sightings:
                Unknowns(sightings).update()
        found[order] = cluster_of(path, uids)
    # What shows too little is in no cluster: each alone.
    alone = np.flatnonzero(found < 0)
    found[alone] = -1 - alone
    return found


def measured(cluster: NDArray[np.int64], person: NDArray[np.str_]) -> dict[str, Any]:
    """Pairwise precision and recall, with intervals."""
    _, whose = np.unique(person, return_inverse=True)
    people = int(whose.max()) + 1
    _, label = np.unique(cluster, return_inverse=True)
    # How many faces of each person are in each cluster.
    table = np.zeros((people, int(label.max()) + 1), np.int64)
    np.add.at(table, (whose, label), 1)
    right = (table * (table - 1) // 2).sum(axis=1).astype(float)
    counts = table.sum(axis=1)
    pairs = (counts * (counts - 1) // 2).astype(float)
    wrong = np.triu((table @ table.T).astype(float), 1)

    def rates(weight: NDArray[Any]) -> tuple[float, float]:
        good = weight @ right
        return good / max(1.0, good + weight @ wrong @ weight), good / max(1.0, weight @ pairs)

    chance = np.random.default_rng(0)
    draws = np.array(
        [
            rates(np.bincount(chance.integers(people, size=people), minlength=people) * 1.0)
            for _ in range(DRAWS if people < 1000 else DRAWS // 20)
        ]
    )
    precision, recall = rates(np.ones(people, np.float64))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return {
        "people": people,
        "sightings": len(person),
        "clusters": len(np.unique(label)),
        "precision": round(float(precision), 4),
        "precision_95": [round(float(low[0]), 4), round(float(high[0]), 4)],
        "recall": round(float(recall), 4),
        "recall_95": [round(float(low[1]), 4), round(float(high[1]), 4)],
    }


def _half(faces: Faces, half: Half) -> Faces:
    mine = np.array([half_of(str(person)) == half for person in faces.person])
    return Faces(*(part[mine] for part in faces))


def _clip_names(names: Sequence[str], half: Half) -> list[str]:
    mine = [name for name in names if half_of(person_of(name)) == half]
    people = sorted({person_of(name) for name in mine})
    chosen = np.random.default_rng(0).permutation(people)[:CLIP_PEOPLE].tolist()
    return [
        name
        for person in sorted(chosen)
        for name in [name for name in mine if person_of(name) == person][:CLIPS_EACH]
    ]


def _share(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_95"]
    return f"{100 * row[key]:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks unknowns", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--clips", action="store_true", help="degraded clips, too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    lfw = given.data / "lfw"
    with open_zip(lfw / "lfw_grey.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
    counts = Counter(map(person_of, names))
    many = [name for name in names if counts[person_of(name)] >= LEAST]
    few = [name for name in names if counts[person_of(name)] < LEAST]
    found: dict[str, Any] = {"increments": INCREMENTS}
    heads = ("half", "sightings", "people", "count", "precision %", "recall %")
    table = Table(*heads, title="Unnamed sightings as people")
    with Encoder(serving=Serving()) as encoder:
        found["model"] = encoder.model_id
        pictures, others = (of_pictures(lfw, part, encoder) for part in (many, few))
        for half in get_args(Half):
            mine, rest = _half(pictures, half), _half(others, half)
            both = Faces(*(np.concatenate(part) for part in zip(mine, rest, strict=True)))
            sets = {"pictures": mine, "pictures, with the others": both}
            if given.clips:
                sets["clips"] = of_clips(lfw, _clip_names(many, half), encoder)
            found[half] = {}
            for what, faces in sets.items():
                row = measured(clustered(faces, encoder.model_id), faces.person)
                found[half][what] = row
                shares = (_share(row, key) for key in ("precision", "recall"))
                table.add_row(half, what, str(row["people"]), str(row["sightings"]), *shares)
                print(half, what, row, flush=True)
    Console(width=110).print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0
