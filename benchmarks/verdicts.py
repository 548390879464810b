"""How often an enrolled person is called a stranger, and a stranger is.

    python -m benchmarks verdicts --json benchmarks/results/verdicts.json

Pictures of LFW through facestream's own detector, alignment and encoder: people who are enrolled
by one picture are searched by another, and so are strangers. The limits of the cohort's card were
chosen on the people of the ``dev`` half; the results are those of both. ``--clips`` takes degraded
clips of the same pictures (see ``identify-video``) instead of the pictures themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats
from facestream.pipeline.recognition.cohort import Cohort, load_cohort
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise, sigma
from facestream.training.evaluation.clips import ClipRules
from facestream.training.evaluation.lfw import Half, open_zip, read_crops
from facestream.training.evaluation.videos import Trial, clip_faces_key, draw_trial
from rich.console import Console
from rich.table import Table

from . import DATA
from .identify_video import CACHE, by_encoder, see, template_of, tracks_of

ENROLLED = (20, 100, 400)
STRANGERS = 600


class Probes(NamedTuple):
    """N searches: the similarities to all who are enrolled N×G, and sigma (infinite: no face)."""

    similarities: Floats
    sigma: Floats


def of_pictures(lfw: Path, trial: Trial, encoder: Encoder, cohort: Cohort) -> Probes:
    """Each picture as it is."""
    gallery, pictures = (
        encoder.embed(read_crops(lfw, names, cache=CACHE).faces)
        for names in (trial.enrolled, trial.clips)
    )
    return Probes(_compare(normalise(pictures[0]), gallery[0], cohort), sigma(pictures[1]))


def of_clips(lfw: Path, trial: Trial, encoder: Encoder, cohort: Cohort) -> Probes:
    """A degraded clip of each picture, fused as a track is."""
    rules = ClipRules()
    looks, gallery = see(lfw, trial, rules, 2, _silent)
    found = by_encoder(encoder, looks, gallery, clip_faces_key(trial, rules), _silent)
    tracks = tracks_of(looks, found, len(trial.clips))
    none = np.zeros(found.mu.shape[1], np.float32)
    fused = np.stack([none if one is None else template_of(one).mu for one in tracks])
    clearest = [np.inf if one is None else float(sigma(one.logvar).min()) for one in tracks]
    similarities = _compare(normalise(fused), found.gallery_mu, cohort)
    return Probes(similarities, np.array(clearest, np.float32))


def _compare(unit: Floats, gallery: Floats, cohort: Cohort) -> Floats:
    templates = normalise(gallery)
    means = cohort.means(unit)[:, None], cohort.means(templates)[None]
    return cohort.normalised(unit @ templates.T, *means)


def _silent(what: str, done: int, total: int) -> None:
    pass


def rates(probes: Probes, trial: Trial, cohort: Cohort) -> list[dict[str, float]]:
    """The shares that are called strangers, by how many are enrolled."""
    limits = None if cohort.card.thresholds is None else cohort.card.thresholds.stranger
    if limits is None:
        raise SystemExit("the cohort's card has no limits of strangers")
    whose = np.array(trial.truth)
    rows = []
    for count in ENROLLED:
        best = probes.similarities[:, :count].max(axis=1)
        called = (probes.sigma <= limits.sigma) & (best <= limits.similarity)
        enrolled = (whose >= 0) & (whose < count)
        rows.append(
            {
                "enrolled": count,
                "searches": int(enrolled.sum()),
                "enrolled_called_stranger": float(called[enrolled].mean()),
                "strangers_called_stranger": float(called[whose < 0].mean()),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks verdicts", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--clips", action="store_true", help="degraded clips, not the pictures")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    lfw = given.data / "lfw"
    with open_zip(lfw / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    found: dict[str, Any] = {"probes": "clips" if given.clips else "pictures"}
    heads = ("half", "enrolled", "called stranger: enrolled %", "strangers %")
    table = Table(*heads, title=f"Verdicts of {found['probes']}")
    with Encoder(serving=Serving()) as encoder:
        cohort = load_cohort(encoder.model_id)
        found["model"] = encoder.model_id
        for half in get_args(Half):
            trial = draw_trial(names, half=half, enrolled=max(ENROLLED), strangers=STRANGERS)
            probes = (of_clips if given.clips else of_pictures)(lfw, trial, encoder, cohort)
            found[half] = rates(probes, trial, cohort)
            for row in found[half]:
                shares = row["enrolled_called_stranger"], row["strangers_called_stranger"]
                table.add_row(half, str(row["enrolled"]), *(f"{100 * s:.1f}" for s in shares))
    Console(width=100).print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0
