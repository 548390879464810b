"""Open-set identification in video: the gain of fusing the frames of a track.

    python -m benchmarks identify-video --json benchmarks/results/identify_video.json

People of LFW: some enrolled by one picture, others never; clips are made of other pictures of
them (see ``facestream.training.evaluation.clips``) and go through facestream's own detector,
alignment and encoder. All methods see the same faces; the teacher, SFace, gets the same crops.
How to fuse was chosen on the people of ``--half dev``; results are those of ``--half test``.

The faces found are kept in runs/cache by settings, the embeddings by encoder: with a new encoder
a run only embeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from facestream.engines.cards import MODELS
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import direction, normalise, sigma
from facestream.pipeline.tracking.fusion import Template
from facestream.training.data.teacher import teacher_net
from facestream.training.evaluation.clips import ClipRules
from facestream.training.evaluation.embeddings import embed_all
from facestream.training.evaluation.lfw import open_zip, read_crops
from facestream.training.evaluation.probabilistic import fuse, mutual_likelihood_matrix
from facestream.training.evaluation.tpir import Outcomes, bootstrap, curve, outcomes, rank_one, tpir
from facestream.training.evaluation.videos import (
    ClipFaces,
    Trial,
    clip_faces_key,
    contact_sheet,
    draw_trial,
    watch,
)
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from . import DATA, ROOT
from .peers import SFACE as SFACE_FILE
from .plots import figure_class
from .tables import markdown_table

CACHE = ROOT / "runs" / "cache"
SFACE = f"models/{SFACE_FILE}"
FPIR = 0.01
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
MEAN = "mean of embeddings"
# Tried on the people of the dev half; 1 is the precision itself.
POWERS = (2.0, 4.0, 8.0, 12.0, 16.0, 24.0)

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Clip faces and enrolled pictures by one network; logvar is 0 if it has none."""

    mu: Floats
    logvar: Floats
    gallery_mu: Floats
    gallery_logvar: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The N observations of one clip in their order."""

    mu: Floats
    logvar: Floats
    quality: Floats
    times: Floats


Fusion = Callable[[Track], Floats]


def fused(power: float, per: Literal["dimension", "face"]) -> Fusion:
    """``fuse`` of the directions."""

    def of(track: Track) -> Floats:
        return fuse(direction(track.mu), track.logvar, power=power, per=per)[0]

    return of


def template_of(track: Track) -> Template:
    """The pipeline's template after all observations."""
    template = Template()
    for mu, logvar, at in zip(track.mu, track.logvar, track.times, strict=True):
        template.add(mu, logvar, at=float(at))
    return template


def middle(track: Track) -> Floats:
    """The observation in the middle: a system that takes one frame."""
    return np.asarray(track.mu[len(track.mu) // 2])


METHODS: dict[str, Fusion] = {
    "one frame: the middle": middle,
    "one frame: best detection": lambda track: track.mu[int(np.argmax(track.quality))],
    "one frame: least sigma": lambda track: track.mu[int(np.argmin(sigma(track.logvar)))],
    MEAN: lambda track: np.asarray(normalise(track.mu).mean(axis=0), np.float32),
    "precision, by dimension": fused(1.0, "dimension"),
    "precision, by face": fused(1.0, "face"),
    "the pipeline's template": lambda track: template_of(track).mu,
}


def tracks_of(looks: ClipFaces, embedded: Embedded, clips: int) -> list[Track | None]:
    """The track of each clip, None where no face was found."""
    tracks: list[Track | None] = []
    for clip in range(clips):
        rows = np.flatnonzero(looks.clip == clip)
        times = (looks.frame[rows] / looks.fps).astype(np.float32)
        part = (embedded.mu[rows], embedded.logvar[rows], looks.quality[rows], times)
        tracks.append(Track(*part) if len(rows) else None)
    return tracks


def cosines(tracks: Sequence[Track | None], gallery: Floats, how: Fusion) -> Floats:
    """N×G; NaN for a clip without a face."""
    blank = np.full(gallery.shape[1], np.nan, np.float32)
    made = np.stack([blank if track is None else normalise(how(track)) for track in tracks])
    return np.asarray(made @ normalise(gallery).T, np.float32)


def likelihoods(tracks: Sequence[Track | None], embedded: Embedded) -> Floats:
    """N×G mutual likelihoods of the pipeline's templates; NaN for a clip without a face."""
    there = [i for i, track in enumerate(tracks) if track is not None]
    templates = [template_of(track) for track in tracks if track is not None]
    scores = np.full((len(tracks), len(embedded.gallery_mu)), np.nan, np.float32)
    scores[there] = mutual_likelihood_matrix(
        direction(np.stack([template.mu for template in templates])),
        np.stack([template.logvar for template in templates]),
        direction(embedded.gallery_mu),
        embedded.gallery_logvar,
    )
    return scores


def kept(file: Path, make: Callable[[], dict[str, Floats]]) -> dict[str, Floats]:
    """The arrays in a file, made first if it is not there."""
    if file.is_file():
        with np.load(file) as saved:
            return dict(saved.items())
    arrays = make()
    partial = file.with_name(f".{file.name}")
    with partial.open("wb") as out:
        np.savez(out, allow_pickle=False, **arrays)
    partial.replace(file)
    return arrays


def by_encoder(
    encoder: Encoder, looks: ClipFaces, gallery: Image, key: str, progress: Report
) -> Embedded:
    """The encoder under test."""

    def make() -> dict[str, Floats]:
        mu, logvar = embed_all(
            encoder, looks.crops, what="embed the observations", progress=progress
        )
        enrolled = embed_all(encoder, gallery, what="embed the gallery", progress=progress)
        return {"mu": mu, "logvar": logvar, "g_mu": enrolled[0], "g_logvar": enrolled[1]}

    name = f"clips_{key}_{encoder.model_id}_{encoder.precision}.npz"
    found = kept(CACHE / name, make)
    return Embedded(found["mu"], found["logvar"], found["g_mu"], found["g_logvar"])


def by_sface(
    file: Path, looks: ClipFaces, gallery: Image, key: str, threads: int, progress: Report
) -> Embedded:
    """The teacher on the same crops; its logvar is all zero."""

    def make() -> dict[str, Floats]:
        infer = teacher_net(file, threads=threads)

        def embed(crops: Image, what: str) -> Floats:
            parts = []
            for start in range(0, len(crops), 64):
                rgb = crops[start : start + 64, :, :, ::-1].transpose(0, 3, 1, 2)
                parts.append(infer(np.ascontiguousarray(rgb, np.float32)).copy())
                progress(what, start + len(rgb), len(crops))
            return np.concatenate(parts)

        return {"mu": embed(looks.crops, "SFace"), "g_mu": embed(gallery, "SFace gallery")}

    found = kept(CACHE / f"clips_{key}_sface.npz", make)
    return Embedded(
        found["mu"], np.zeros_like(found["mu"]), found["g_mu"], np.zeros_like(found["g_mu"])
    )


def measure(
    trial: Trial, looks: ClipFaces, ours: Embedded, sface: Embedded | None, *, tuning: bool
) -> dict[str, Outcomes]:
    """The best matches by method."""
    truth = np.array(trial.truth, np.int64)
    tracks = tracks_of(looks, ours, len(truth))
    scores = {name: cosines(tracks, ours.gallery_mu, how) for name, how in METHODS.items()}
    scores["the pipeline's template, MLS"] = likelihoods(tracks, ours)
    if tuning:
        for per in ("dimension", "face"):
            for power in POWERS:
                how = fused(power, "dimension" if per == "dimension" else "face")
                scores[f"power {power:g}, by {per}"] = cosines(tracks, ours.gallery_mu, how)
    if sface is not None:
        teacher = tracks_of(looks, sface, len(truth))
        scores["SFace, one frame: the middle"] = cosines(teacher, sface.gallery_mu, middle)
        scores["SFace, mean of embeddings"] = cosines(teacher, sface.gallery_mu, METHODS[MEAN])
    return {name: outcomes(table, truth) for name, table in scores.items()}


def report(found: dict[str, Outcomes], people: Any, *, draws: int) -> list[dict[str, Any]]:
    """A row a method, with intervals over the people and the gain over the mean."""
    names = list(found)
    strangers = int((~found[MEAN].mated).sum())
    rates = [rate for rate in RATES if rate * strangers >= 1]
    drawn = bootstrap(list(found.values()), people, fpir=FPIR, draws=draws)
    base = tpir(found[MEAN], FPIR)[0]
    rows = []
    for k, name in enumerate(names):
        value, threshold = tpir(found[name], FPIR)
        rank = rank_one(found[name])
        rows.append(
            {
                "method": name,
                "rank_1": asdict(drawn.rank_interval(rank, k)),
                "tpir": asdict(drawn.interval(value, k)),
                "gain_over_mean": asdict(drawn.difference(value - base, k, names.index(MEAN))),
                "threshold": threshold,
                "tpir_by_fpir": dict(zip(map(str, rates), curve(found[name], rates), strict=True)),
            }
        )
    return rows


HEADS = ("method", "rank-1 %", "TPIR at FPIR 1 %, %", "gain over the mean, points")


def cells(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """A cell for each of ``HEADS``."""
    return [
        (
            row["method"],
            f"{100 * row['rank_1']['value']:.1f}",
            f"{100 * (rate := row['tpir'])['value']:.1f} "
            f"({100 * rate['low']:.1f}–{100 * rate['high']:.1f})",
            f"{100 * (gain := row['gain_over_mean'])['value']:+.1f} "
            f"({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})",
        )
        for row in rows
    ]


def show(rows: list[dict[str, Any]], title: str) -> None:
    """Print the table."""
    table = Table(*HEADS, title=title)
    for row in cells(rows):
        table.add_row(*row)
    Console(width=120).print(table)


def plot(found: dict[str, Outcomes], file: Path) -> None:
    """TPIR against FPIR as PNG (matplotlib)."""
    figure = figure_class()(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    strangers = int((~next(iter(found.values())).mated).sum())
    rates = np.geomspace(max(1.5 / strangers, 1e-3), 0.5, 60)
    for number, (name, outcome) in enumerate(found.items()):
        values = curve(outcome, [float(rate) for rate in rates])
        axes.plot(rates, values, label=name, linestyle=("-", "--", ":")[number // 10 % 3])
    axes.set(xscale="log", xlabel="FPIR", ylabel="TPIR", title="Open-set identification of clips")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    figure.savefig(file, dpi=120)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks identify-video",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=MODELS / "vae_encoder.json")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/ and models/")
    parser.add_argument("--half", choices=("test", "dev"), default="test")
    parser.add_argument("--people", type=int, default=400, help="enrolled")
    parser.add_argument("--strangers", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG of TPIR against FPIR")
    parser.add_argument("--sheet", type=Path, help="PNG of some clips (LFW's people: keep it)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    given = options().parse_args(arguments)
    if given.strangers * FPIR < 1:
        print(f"{given.strangers} strangers cannot tell an FPIR of {FPIR}: take 100 or more")
        return 2
    lfw = given.data / "lfw"
    if not (lfw / "lfw_grey.zip").is_file():
        print(f"no LFW in {lfw}: put the research data into ../shared/data, or name it by --data")
        return 2
    rules = ClipRules()
    with open_zip(lfw / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    trial = draw_trial(
        names, half=given.half, enrolled=given.people, strangers=given.strangers, seed=given.seed
    )
    if given.sheet is not None:
        cv2.imwrite(str(given.sheet), contact_sheet(lfw, trial, rules))
    with Progress(disable=not sys.stderr.isatty(), console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        looks, gallery = see(lfw, trial, rules, given.threads, progress)
        key = clip_faces_key(trial, rules)
        with Encoder(model=given.model, serving=Serving(threads=given.threads)) as encoder:
            ours = by_encoder(encoder, looks, gallery, key, progress)
            about = {"model": encoder.model_id, "precision": encoder.precision}
        teacher = given.data / SFACE
        sface = None
        if teacher.is_file():
            sface = by_sface(teacher, looks, gallery, key, given.threads, progress)
        found = measure(trial, looks, ours, sface, tuning=given.half == "dev")
        rows = report(found, trial.people, draws=given.draws)
    title = f"{about['model']} ({about['precision']}), {given.half} half"
    show(rows, f"{title}: {given.people} enrolled, {given.strangers} strangers")
    if given.plot is not None:
        plot(found, given.plot)
    if given.json is not None:
        about |= describe(trial, looks, rules, ours) | {"half": given.half, "fpir": FPIR}
        text = json.dumps(
            about | {"rows": rows, "markdown": markdown_table(HEADS, cells(rows))}, indent=2
        )
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0


def see(
    lfw: Path, trial: Trial, rules: ClipRules, threads: int, progress: Report
) -> tuple[ClipFaces, Image]:
    """The faces in the clips, and the enrolled ones."""
    done = 0

    def clip(count: int) -> None:
        nonlocal done
        done += count
        progress("render, detect, align", done, len(trial.clips))

    looks = watch(lfw, trial, rules=rules, cache=CACHE, threads=threads, progress=clip)
    return looks, read_crops(lfw, trial.enrolled, cache=CACHE, threads=threads).faces


def describe(trial: Trial, looks: ClipFaces, rules: ClipRules, ours: Embedded) -> dict[str, Any]:
    """What was measured on."""
    truth = np.array(trial.truth)
    return {
        "enrolled": len(trial.enrolled),
        "mated_clips": int((truth >= 0).sum()),
        "stranger_clips": int((truth < 0).sum()),
        "clips_without_a_face": len(truth) - len(np.unique(looks.clip)),
        "looks": len(looks.clip),
        "frames": len(truth) * rules.frames,
        "sigma_percentiles_5_50_95": np.percentile(sigma(ours.logvar), (5, 50, 95)).tolist(),
        "rules": asdict(rules),
        "seed": trial.seed,
    }
