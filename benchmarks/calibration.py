"""What ``facestream calibrate`` is worth, on LFW's people; an own cohort, and the PFE score.

    python -m benchmarks calibration --json benchmarks/results/calibration.json

People of the ``test`` half. A gallery of two pictures each is calibrated; the thresholds are then
judged by strangers and by third pictures that had no part in it. Own cohort: the ``dev`` half's
people take the place of the cohort that ships. Mutual likelihood (PFE, Shi and Jain, 2019):
pictures are degraded at random, half of those in the gallery too, and the first five candidates are
ranked anew by it. ``--svg`` writes the pictures of the calibration.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.calibration.fit import fit_best, fit_threshold
from facestream.pipeline.calibration.page import pictures_svg
from facestream.pipeline.calibration.report import report_of
from facestream.pipeline.calibration.searches import GallerySearches, search_gallery
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery.templates import Templates
from facestream.pipeline.identity.calibrated import own_cohort
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.estimates import (
    calibration_error,
    probabilities,
    reliability,
    wilson,
)
from facestream.pipeline.recognition.cohort import Cohort, load_cohort
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import direction, normalise, sigma
from facestream.training.data.degrade import degrade_randomly
from facestream.training.evaluation.lfw import open_zip, read_crops
from facestream.training.evaluation.probabilistic import mutual_likelihood_matrix
from facestream.training.evaluation.tpir import Outcomes, bootstrap, tpir
from numpy.typing import NDArray

from . import DATA
from .identify_video import CACHE, kept
from .verdicts import LfwPictures, embed_lfw

RATE = 0.02
GALLERIES = (50, 400)
COHORTS = (300, 2500)
FPIRS = (0.01, 0.001)
NEAREST = 5
MATED = 800
# The most strangers of the PFE comparison, so that 0.1 % are two of them.
STRANGERS = 2000

Ids = NDArray[np.int64]


class Split:
    """People of a half: the pictures of those with several, and one of each of the others."""

    def __init__(self, lfw: LfwPictures, half: str, *, least: int, mated: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        by_person: dict[str, list[int]] = {}
        for row in rng.permutation(np.flatnonzero(lfw.half == half)).tolist():
            by_person.setdefault(str(lfw.person[row]), []).append(row)
        several = [one for one, own in by_person.items() if len(own) >= least][:mated]
        self.mated = [by_person[one] for one in several]
        known = set(several)
        self.strangers = np.array([own[0] for one, own in by_person.items() if one not in known])


def calibrated(lfw: LfwPictures, cohort: Cohort, people: int) -> tuple[dict[str, Any], Any]:
    """A gallery of two pictures each, calibrated; judged by strangers and third pictures."""
    split = Split(lfw, "test", least=3, mated=people, seed=people)
    rows = np.array([own[:2] for own in split.mated]).ravel()
    ids = np.repeat(np.arange(1, len(split.mated) + 1), 2)
    searches = _gallery(lfw, rows, ids, cohort)
    fitted = fit_threshold(searches.strangers, searches.others, RATE)
    best = fit_best(searches.mated, searches.strangers, fitted.shift)
    card = _card(cohort).among(len(rows))
    probes = np.array([own[2] for own in split.mated])
    scores = _scores(lfw, np.concatenate([probes, split.strangers]), rows, cohort)
    by_person = scores.reshape(len(scores), -1, 2).max(axis=2)
    top, whose = by_person.max(axis=1), by_person.argmax(axis=1)
    mated = np.arange(len(top)) < len(probes)
    right = mated & (whose == np.arange(len(top)))
    weights = np.where(mated, 0.5 / mated.sum(), 0.5 / (~mated).sum())
    found: dict[str, Any] = {"people": len(split.mated), "strangers": len(split.strangers)}
    for name, threshold in (("calibrated", fitted.threshold.value), ("card", card.similarity)):
        passed = top >= threshold
        missed = mated & ~(passed & right)
        found[name] = {
            "threshold": round(threshold, 4),
            "false_alarms": _rounded(wilson(passed[~mated].sum(), (~mated).sum())._asdict()),
            "misses": _rounded(wilson(missed.sum(), mated.sum())._asdict()),
        }
    stated = {
        "calibrated": probabilities(top, best.calibration),
        "card": np.array([card.probability(float(one)) for one in top]),
    }
    for name, of in stated.items():
        error = calibration_error(reliability(of, right, weights))
        found[name]["calibration_error"] = round(error, 4)
    report = report_of(
        searches, fitted, {}, best, card=card, names={}, rates=(), judged=()
    )  # fmt: skip
    found["fit"] = {key: report[key] for key in ("threshold", "tail", "measured")}
    return found, (searches, report | {"false_alarms": RATE})


def _gallery(lfw: LfwPictures, rows: Ids, ids: Ids, cohort: Cohort) -> GallerySearches:
    none = np.zeros((0, 0), np.float32)
    return search_gallery(Templates(rows, ids, lfw.unit[rows], none), cohort, cohort)


def _card(cohort: Cohort) -> Thresholds:
    return Thresholds.from_card(cohort.card, calibrated=cohort.card.thresholds, false_alarms=RATE)


def _scores(lfw: LfwPictures, probes: Ids, gallery: Ids, cohort: Cohort) -> Floats:
    means = cohort.means(lfw.unit[probes])[:, None], cohort.means(lfw.unit[gallery])[None]
    return cohort.normalised(lfw.unit[probes] @ lfw.unit[gallery].T, *means)


def cohorts(lfw: LfwPictures, shipped: Cohort) -> list[dict[str, Any]]:
    """TPIR of the test half with the shipped cohort, and with cohorts of the dev half's people."""
    split = Split(lfw, "test", least=2, mated=MATED, seed=0)
    _, first = np.unique(lfw.person, return_index=True)
    own = np.random.default_rng(0).permutation([row for row in first if lfw.half[row] == "dev"])
    gallery = np.array([one[0] for one in split.mated])
    probes = np.array([row for one in split.mated for row in one[1:3]])
    truth = np.array([at for at, one in enumerate(split.mated) for _ in one[1:3]])
    rows = np.concatenate([probes, split.strangers])
    truth = np.concatenate([truth, np.full(len(split.strangers), -1)])
    means = np.zeros(len(rows), np.float32)[:, None]
    tables = {"none": lfw.unit[rows] @ lfw.unit[gallery].T + means}
    tables["shipped"] = _scores(lfw, rows, gallery, shipped)
    for count in COHORTS:
        tables[f"own, {count}"] = _scores(
            lfw, rows, gallery, own_cohort(lfw.unit[own[:count]], shipped)
        )
    return compared(tables, truth, _numbers(lfw.person[rows]), base="shipped")


def likelihoods(lfw: LfwPictures, folder: Path, encoder: Encoder, cohort: Cohort) -> Any:
    """TPIR of degraded pictures: by similarity, and with the first candidates ranked by PFE."""
    split = Split(lfw, "test", least=2, mated=MATED, seed=0)
    gallery = np.array([one[0] for one in split.mated])
    probes = np.array([row for one in split.mated for row in one[1:2]])
    strangers = split.strangers[:STRANGERS]
    rows = np.concatenate([probes, strangers])
    truth = np.concatenate([np.arange(len(probes)), np.full(len(strangers), -1)])
    with open_zip(folder / "lfw_grey.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))

    def make() -> dict[str, Floats]:
        crops = read_crops(folder, names, cache=CACHE).faces
        rng = np.random.default_rng(0)
        half = gallery[::2]
        bad = np.stack([degrade_randomly(crops[row], rng)[0] for row in [*rows, *half]])
        good = crops[gallery[1::2]]
        mu, logvar = encoder.embed(np.concatenate([bad, good]))
        return {"mu": mu, "logvar": logvar}

    key = f"pfe_{encoder.model_id}_{encoder.precision}_{MATED}_{STRANGERS}.npz"
    found = kept(CACHE / key, make)
    count = len(rows)
    order = np.concatenate([np.arange(0, len(gallery), 2), np.arange(1, len(gallery), 2)])
    mu, logvar = (np.empty((len(gallery), found["mu"].shape[1]), np.float32) for _ in range(2))
    mu[order], logvar[order] = found["mu"][count:], found["logvar"][count:]
    unit, templates = normalise(found["mu"][:count]), normalise(mu)
    similar = cohort.normalised(
        unit @ templates.T, cohort.means(unit)[:, None], cohort.means(templates)[None]
    )
    likely = mutual_likelihood_matrix(
        direction(found["mu"][:count]), found["logvar"][:count], direction(mu), logvar
    )
    near = np.argsort(-similar, axis=1)[:, :NEAREST]
    ranked = np.take_along_axis(likely, near, axis=1).argmax(axis=1)
    first = np.take_along_axis(near, ranked[:, None], axis=1)[:, 0]
    again = np.full_like(similar, -1)
    at = np.arange(count)
    again[at, first] = similar[at, first]
    tables: dict[str, NDArray[Any]] = {
        "similarity": similar,
        f"first {NEAREST} ranked by likelihood": again,
        "likelihood alone": likely,
    }
    people = _numbers(lfw.person[rows])
    # As in a run: what is above the limit of sigma gets no name.
    refused = sigma(found["logvar"][:count]) > float(cohort.card.metrics["max_sigma"])
    gated = {name: np.where(refused[:, None], -1e6, table) for name, table in tables.items()}
    return {
        "all": compared(tables, truth, people, base="similarity"),
        "within_max_sigma": compared(gated, truth, people, base="similarity"),
        "refused": float(refused.mean()),
    }


def compared(tables: dict[str, Any], truth: Ids, people: Ids, *, base: str) -> list[dict[str, Any]]:
    """TPIR at each of `FPIRS`, and the gain over the base, with intervals over people."""
    found = {
        name: Outcomes(
            np.asarray(table.max(axis=1), np.float64),
            np.asarray(table.argmax(axis=1) == truth, np.bool_),
            np.asarray(truth >= 0, np.bool_),
        )
        for name, table in tables.items()
    }
    rows: list[dict[str, Any]] = [{"method": name} for name in found]
    at = list(found).index(base)
    for fpir in FPIRS:
        drawn = bootstrap(list(found.values()), people, fpir=fpir, draws=150)
        basis = tpir(found[base], fpir)[0]
        for number, (row, one) in enumerate(zip(rows, found.values(), strict=True)):
            value = tpir(one, fpir)[0]
            row[f"tpir_at_{fpir:g}"] = _rounded(asdict(drawn.interval(value, number)))
            gain = drawn.difference(value - basis, number, at)
            row[f"gain_at_{fpir:g}"] = _rounded(asdict(gain))
    return rows


def _numbers(person: NDArray[np.str_]) -> Ids:
    return np.unique(person, return_inverse=True)[1].astype(np.int64)


def _rounded(one: dict[str, Any]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in one.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks calibration", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="folder for the pictures of the calibration")
    given = parser.parse_args(arguments)
    folder = given.data / "lfw"
    with Encoder(serving=Serving()) as encoder:
        cohort = load_cohort(encoder.model_id)
        lfw = embed_lfw(folder, encoder, cohort)
        found: dict[str, Any] = {"model": encoder.model_id, "false_alarms": RATE, "galleries": []}
        for people in GALLERIES:
            row, drawn = calibrated(lfw, cohort, people)
            found["galleries"].append(row)
            print(json.dumps(row), flush=True)
        if given.svg is not None:
            names = ("similarities", "det", "probability")
            for name, picture in zip(names, pictures_svg(*drawn), strict=True):
                (given.svg / f"calibration_{name}.svg").write_text(picture + "\n", encoding="utf-8")
        found["cohorts"] = cohorts(lfw, cohort)
        print(json.dumps(found["cohorts"], indent=1), flush=True)
        found["mutual_likelihood"] = likelihoods(lfw, folder, encoder, cohort)
        print(json.dumps(found["mutual_likelihood"], indent=1), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0
