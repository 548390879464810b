"""How often an enrolled person is called a stranger, and a stranger is.

    python -m benchmarks verdicts --json benchmarks/results/verdicts.json

Pictures of LFW through facestream's own detector, alignment and encoder: people who are enrolled
by one picture are searched by others, and so are strangers; in galleries of more than 800 people
the rest are there to be mistaken for. Then clips made of such pictures, heavily degraded (see
``identify-video``), of which the fused embedding is searched as a track's is. ``--choose`` prints
the limits for the cohort's card, which are chosen on the people of the ``dev`` half; the results
are those of both halves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from facestream.engines.cards import StrangerLimits
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats
from facestream.pipeline.recognition.cohort import Cohort, load_cohort
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise, sigma
from facestream.training.evaluation.clips import ClipRules
from facestream.training.evaluation.lfw import Half, half_of, open_zip, person_of, read_crops
from facestream.training.evaluation.videos import clip_faces_key, draw_trial
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from . import DATA
from .identify_video import CACHE, by_encoder, kept, see, template_of, tracks_of

ENROLLED = (20, 100, 400, 800, 1500)
STRANGERS = 600
# People of one half with two pictures or more; larger galleries are filled with others.
MATED = 800
CLIPPED = 400
# Share of the enrolled people of the dev half who may be called strangers: the test half has
# others, and must stay below 1 %.
AIM = 0.006
# Sigmas of the table. Pictures are rarely beyond the last; clips beyond it are never strangers.
SIGMAS = (0.65, 0.9)
# Searches by enrolled people that decide on a limit, at least: 12 of them may lie below it.
SEARCHES = 2000


class Probes(NamedTuple):
    """N searches.

    Attributes:
        best: N, the similarity to the best of all who are enrolled.
        sigma: N, of the surest embedding; infinite where no face was found.
        enrolled: N, True for enrolled people.
    """

    best: Floats
    sigma: Floats
    enrolled: NDArray[np.bool_]


class LfwPictures(NamedTuple):
    """All N pictures of LFW, embedded.

    Attributes:
        unit: N×D, of length 1. means: N, of the cohort. sigma: N.
        person: N names. half: N names of halves.
    """

    unit: Floats
    means: Floats
    sigma: Floats
    person: NDArray[np.str_]
    half: NDArray[np.str_]


def embed_lfw(lfw: Path, encoder: Encoder, cohort: Cohort) -> LfwPictures:
    """Detect, align and embed all pictures; kept in runs/cache."""
    with open_zip(lfw / "lfw_grey.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))

    def make() -> dict[str, Floats]:
        mu, logvar = encoder.embed(read_crops(lfw, names, cache=CACHE).faces)
        return {"mu": mu, "logvar": logvar}

    found = kept(CACHE / f"lfw_all_{encoder.model_id}_{encoder.precision}.npz", make)
    unit = normalise(found["mu"])
    person = np.array([person_of(name) for name in names])
    half = np.array([half_of(str(one)) for one in person])
    return LfwPictures(unit, cohort.means(unit), sigma(found["logvar"]), person, half)


def of_pictures(
    lfw: LfwPictures, half: Half, enrolled: int, cohort: Cohort, *, seed: int = 0
) -> Probes:
    """Searches among so many enrolled people, by up to two other pictures each."""
    rng = np.random.default_rng((seed, enrolled, half == "dev"))
    rows = rng.permutation(np.flatnonzero(lfw.half == half))
    by_person: dict[str, list[int]] = {}
    for row in rows.tolist():
        by_person.setdefault(str(lfw.person[row]), []).append(row)
    several = [person for person, own in by_person.items() if len(own) > 1]
    mated = several[: min(enrolled, MATED)]
    known = set(mated)
    others = [own[0] for person, own in by_person.items() if person not in known]
    strangers, fillers = others[:STRANGERS], others[STRANGERS:][: enrolled - len(mated)]
    gallery = [by_person[person][0] for person in mated] + fillers
    probes = [row for person in mated for row in by_person[person][1:3]]
    best = _best(lfw, np.array(probes + strangers), np.array(gallery), cohort)
    found = np.arange(len(best)) < len(probes)
    return Probes(best, lfw.sigma[probes + strangers], found)


def _best(
    lfw: LfwPictures, probes: NDArray[np.int64], gallery: NDArray[np.int64], cohort: Cohort
) -> Floats:
    cosines = lfw.unit[probes] @ lfw.unit[gallery].T
    means = lfw.means[probes][:, None], lfw.means[gallery]
    return np.asarray(cohort.normalised(cosines, *means).max(axis=1), np.float32)


def of_clips(
    folder: Path, lfw: LfwPictures, half: Half, encoder: Encoder, cohort: Cohort, *, every: int
) -> dict[int, Probes]:
    """Every so many-th clip among 400 people, by how many of them are enrolled.

    Of fewer enrolled people those who are left out are no strangers: their clips do not count.
    """
    with open_zip(folder / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    whole = draw_trial(names, half=half, enrolled=CLIPPED, strangers=STRANGERS)
    trial = replace(whole, clips=whole.clips[::every], truth=whole.truth[::every])
    rules = ClipRules()
    looks, gallery = see(folder, trial, rules, 2, lambda what, done, total: None)
    found = by_encoder(
        encoder, looks, gallery, clip_faces_key(trial, rules), lambda what, done, total: None
    )
    tracks = tracks_of(looks, found, len(trial.clips))
    none = np.zeros(found.mu.shape[1], np.float32)
    fused = np.stack([none if one is None else template_of(one).mu for one in tracks])
    clearest = [np.inf if one is None else float(sigma(one.logvar).min()) for one in tracks]
    unit, templates = normalise(fused), normalise(found.gallery_mu)
    means = cohort.means(unit)[:, None]
    scores = cohort.normalised(unit @ templates.T, means, cohort.means(templates)[None])
    away = {person_of(name) for name in (*trial.enrolled, *trial.clips)}
    fillers = _fillers(lfw, half, away)
    filled = cohort.normalised(unit @ lfw.unit[fillers].T, means, lfw.means[fillers][None])
    truth = np.array(trial.truth)
    probes = {}
    for count in ENROLLED:
        some = truth < count
        table = np.concatenate([scores[:, :count], filled[:, : max(0, count - CLIPPED)]], axis=1)
        best = np.asarray(table.max(axis=1), np.float32)
        sigmas = np.array(clearest, np.float32)
        probes[count] = Probes(best[some], sigmas[some], truth[some] >= 0)
    return probes


def _fillers(lfw: LfwPictures, half: Half, away: set[str]) -> NDArray[np.int64]:
    """A picture of each person of the half who is not in the trial."""
    _, first = np.unique(lfw.person, return_index=True)
    mine = [row for row in first if lfw.half[row] == half and str(lfw.person[row]) not in away]
    return np.random.default_rng(0).permutation(np.array(mine, np.int64))


def rates(probes: Probes, limits: StrangerLimits, photos: int) -> dict[str, float]:
    """The shares that are called strangers."""
    most = np.array([limits.limit(float(one), photos) for one in probes.sigma])
    called, enrolled = probes.best <= most, probes.enrolled
    return {
        "enrolled": photos,
        "searches": int(enrolled.sum()),
        "strangers": int((~enrolled).sum()),
        "enrolled_called_stranger": float(called[enrolled].mean()),
        "strangers_called_stranger": float(called[~enrolled].mean()),
    }


def line(probes: Sequence[Probes]) -> tuple[float, float]:
    """The limit of similarity as a straight line over sigma: its value at 0, and its slope.

    The likelihood ratio of enrolled and stranger is taken as log-linear in similarity and sigma
    (logistic regression); the line is where `AIM` of the enrolled people lie below.
    """
    seen = np.concatenate([np.isfinite(one.sigma) for one in probes])
    best = np.concatenate([one.best for one in probes])[seen]
    sigmas = np.concatenate([one.sigma for one in probes])[seen]
    enrolled = np.concatenate([one.enrolled for one in probes])[seen]
    features = np.stack([best, sigmas], axis=1) * 10
    found = LogisticRegression(C=1e3, class_weight="balanced").fit(features, enrolled)
    by_best, by_sigma = (float(value) * 10 for value in found.coef_[0])
    scores = by_best * best + by_sigma * sigmas
    cut = float(np.quantile(scores[enrolled], AIM))
    return cut / by_best, -by_sigma / by_best


def choose(pictures: dict[int, list[Probes]], cohort: Cohort) -> dict[str, Any]:
    """The table of the card, of the dev half's searches by the number of enrolled people."""
    thresholds = cohort.card.thresholds
    if thresholds is None or thresholds.false_matches is None:
        raise SystemExit("the cohort's card has no false-match rates")
    rows = []
    for count in ENROLLED:
        # No limit lies above the similarity that gives a name (2 % false alarms).
        most = thresholds.false_matches.similarity(0.02 / count)
        base, slope = line(pictures[count])
        rows.append([round(max(-1.0, min(base + slope * at, most)), 3) for at in SIGMAS])
    return {"photos": list(ENROLLED), "sigmas": list(SIGMAS), "similarities": rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks verdicts", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th clip")
    parser.add_argument("--choose", action="store_true", help="print limits for the card")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    folder = given.data / "lfw"
    found: dict[str, Any] = {"every_clip": given.every, "aim": AIM}
    heads = ("probes", "half", "enrolled", "called stranger: enrolled %", "strangers %")
    table = Table(*heads, title="Verdicts")
    with Encoder(serving=Serving()) as encoder:
        cohort = load_cohort(encoder.model_id)
        lfw = embed_lfw(folder, encoder, cohort)
        found["model"] = encoder.model_id
        pictures = {
            half: {
                count: [
                    of_pictures(lfw, half, count, cohort, seed=seed)
                    for seed in range(max(3, SEARCHES // count))
                ]
                for count in ENROLLED
            }
            for half in get_args(Half)
        }
        clips = {
            half: of_clips(folder, lfw, half, encoder, cohort, every=given.every)
            for half in get_args(Half)
        }
    limits = None if cohort.card.thresholds is None else cohort.card.thresholds.stranger
    if limits is None:
        raise SystemExit("the cohort's card has no limits of strangers")
    if given.choose:
        chosen = choose(pictures["dev"], cohort)
        print(json.dumps(chosen))
        limits = StrangerLimits.model_validate(limits.model_dump() | chosen | {"sigma": SIGMAS[-1]})
    for half in get_args(Half):
        for what, of_all in (
            ("pictures", {count: _joined(all_of) for count, all_of in pictures[half].items()}),
            ("clips", clips[half]),
        ):
            rows = [rates(probes, limits, count) for count, probes in of_all.items()]
            found.setdefault(what, {})[half] = rows
            for row in rows:
                shares = row["enrolled_called_stranger"], row["strangers_called_stranger"]
                table.add_row(what, half, str(row["enrolled"]), *(f"{100 * s:.1f}" for s in shares))
    Console(width=100).print(table)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _joined(probes: Sequence[Probes]) -> Probes:
    best, sigmas, enrolled = zip(*probes, strict=True)
    return Probes(np.concatenate(best), np.concatenate(sigmas), np.concatenate(enrolled))
