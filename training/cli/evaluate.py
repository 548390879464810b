"""``facestream-train evaluate``, ``pose``, ``groups``, ``probe`` and ``fewshot``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.engines.cards import ModelCard, read_card
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.recognition.uncertainty import normalise

from ..data.face_sets import read_folder, split_identities
from ..data.teacher import teacher_targets
from ..errors import DataError, TrainingError
from ..evaluation import demographics as by_group
from ..evaluation import fewshot as few
from ..evaluation import probe as probing
from ..evaluation.attributes import NO_EXPRESSION, attributes_of
from ..evaluation.embeddings import embed_rows
from ..evaluation.lfw import open_lfw
from ..evaluation.plots import plot_rejects, plot_sigma, plot_verification
from ..evaluation.pose import measure_pose, read_turns
from ..evaluation.rejection import measure_uncertainty
from ..evaluation.verification import FMR, EncoderReport, verify
from ..export.card import write_card
from ..progress import counted
from ..record import write_json
from .console import (
    CACHE,
    ENCODER,
    LFW,
    SFACE,
    TRAIN,
    DataOption,
    FoldsOption,
    LfwOption,
    ModelOption,
    ReportOption,
    SeedOption,
    TeacherOption,
    ThreadsOption,
    encoding,
    progress_bars,
    show,
    shown,
)


class DetectorMode(StrEnum):
    """Modes of the detector, see ``Mtcnn``."""

    FAST = "fast"
    EXACT = "exact"


def evaluate(
    model: ModelOption = ENCODER,
    lfw: LfwOption = LFW,
    out: ReportOption = Path("runs/evaluate"),
    folds: FoldsOption = 10,
    threads: ThreadsOption = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty/--no-uncertainty", "--doubt/--no-doubt", help="Measure sigma, too."
        ),
    ] = True,
    write: Annotated[
        bool, typer.Option("--write-card", help="Put figures and thresholds on the card.")
    ] = False,
    plots: Annotated[bool, typer.Option("--plots", help="Save ROC and histograms.")] = False,
    detector: Annotated[DetectorMode, typer.Option(help="Mode of MTCNN.")] = DetectorMode.FAST,
) -> None:
    """Evaluate an encoder on LFW: 10-fold accuracy, accept rates, thresholds, uncertainty.

    Example: facestream-train evaluate --plots
    """
    with progress_bars() as progress:
        data = open_lfw(
            lfw, folds=folds, mode=detector.value, cache=CACHE, threads=threads, progress=progress
        )
    with encoding(model, threads) as (encoder, progress):
        embedded = data.embed(encoder, progress=progress)
        found = verify(data.pairs, embedded[0], not_found=data.crops.not_found)
        sigma = None
        if uncertainty:
            sigma = measure_uncertainty(
                encoder, data, embedded, fmr=FMR, threshold=found.threshold, progress=progress
            )
        notes = [f"the first {folds} folds only"] if folds < 10 else []
        report = EncoderReport(
            encoder.model_id, encoder.backend, encoder.precision, found, sigma, notes
        )
    write_json(out / "report.json", asdict(report))
    if plots:
        similarity = data.pairs.similarities(normalise(embedded[0])).astype(np.float64)
        sides = similarity[data.pairs.genuine], similarity[~data.pairs.genuine]
        plot_verification({report.model: sides}, out / "lfw.png", threshold=found.threshold)
        if sigma is not None:
            plot_rejects(sigma.rejects, out / "reject.png")
            plot_sigma(sigma.monotony, out / "sigma.png")
    show(
        f"{report.model} ({report.precision})", ("figure", "value", "95 % interval"), _rows(report)
    )
    if write:
        card = read_card(model)
        # What `cohort` wrote on the card stays.
        kept = None if card.thresholds is None else card.thresholds.false_matches
        figures = {
            "metrics": {**card.metrics, **report.card_metrics()},
            "thresholds": report.thresholds().model_copy(update={"false_matches": kept}),
        }
        write_card(card.model_copy(update=figures), model)


def _rows(report: EncoderReport) -> list[tuple[str, str, str]]:
    lfw, sigma = report.verification, report.uncertainty
    rows = [
        (
            "LFW accuracy (10-fold)",
            f"{lfw.accuracy.value:.2%} ± {lfw.deviation:.2%}",
            f"{lfw.accuracy.low:.2%} to {lfw.accuracy.high:.2%}",
        ),
        *(
            (f"TAR at FAR {far}", f"{tar.value:.2%}", f"{tar.low:.2%} to {tar.high:.2%}")
            for far, tar in lfw.tar.items()
        ),
        ("threshold at FMR 0.1 % (protocol, default)", f"{lfw.threshold:.4f}", ""),
        (f"threshold at FMR 0.1 % ({lfw.all_pairs:,} pairs)", f"{lfw.threshold_all_pairs:.4f}", ""),
        ("pictures without a face found", str(lfw.not_found), ""),
    ]
    if sigma is None:
        return rows
    for kind, value in sigma.monotony.spearman.items():
        within = sigma.monotony.within[kind]
        rows.append((f"sigma against {kind}", f"{value:.3f}", f"within a picture {within:.3f}"))
    for reject in sigma.rejects:
        name = f"{reject.severity}ly degraded probes"
        rows.append((f"FNMR, {name}", f"{reject.fnmr:.2%}", f"{reject.lost} not detected"))
        for by, left, saved in (
            ("highest sigma", reject.fnmr_sigma, reject.saved_sigma),
            ("worst size, sharpness, score", reject.fnmr_baseline, reject.saved_baseline),
        ):
            rows.append(
                (f"… without the 10 % of {by}", f"{left:.2%}", f"saves {shown(saved, '.0%')}")
            )
        rows.append(("… without the 10 % least similar", f"{reject.fnmr_oracle:.2%}", ""))
    limit = sigma.limit
    if isfinite(limit.value):
        beyond = f"{limit.beyond:.1%} beyond it, {limit.fnmr:.1%} of them missed"
        rows.append(("greatest sigma that is named", f"{limit.value:.3f}", beyond))
    return rows


def pose(
    model: ModelOption = ENCODER,
    data: DataOption = TRAIN,
    teacher: TeacherOption = SFACE,
    out: ReportOption = Path("runs/evaluate"),
    percent: Annotated[
        int, typer.Option(min=1, max=50, help="Share of people that the run held out.")
    ] = 8,
    threads: ThreadsOption = None,
) -> None:
    """Verify people held out of training across pose, beside the teacher.

    Example: facestream-train pose
    """
    _, held = split_identities(read_folder(data), percent=percent)
    rows = [row for row in held if row.identity is not None and row.dataset != "celeba_small"]
    if len(rows) < 2:
        raise DataError(f"{data} has no labelled people among the {percent} % held out")
    with encoding(model, threads) as (encoder, progress):
        add = counted(progress, "detect", len(rows))
        turns = read_turns(data, rows, cache=CACHE, threads=threads, progress=add)
        ours = embed_rows(encoder, data, rows, cache=CACHE, progress=progress)
        plain, mirror = teacher_targets(
            data, rows, teacher=teacher, cache=CACHE, threads=threads or 2
        )
        person = [row.identity or "" for row in rows]
        contenders = {
            encoder.model_id: measure_pose(normalise(ours.mu), person, turns),
            "teacher": measure_pose(normalise(plain), person, turns),
            "teacher with mirror image": measure_pose(normalise(plain + mirror), person, turns),
        }
    report = {name: [asdict(row) for row in table] for name, table in contenders.items()}
    write_json(out / "pose.json", report)
    show(
        f"TAR at FAR 0.1 %: {len(rows)} pictures of {len(set(person))} people not trained on "
        f"({int(np.isnan(turns).sum())} without a detected face left out)",
        ("pairs", "genuine", *contenders),
        [
            (kinds[0].kind, str(kinds[0].genuine), *(shown(kind.tar) for kind in kinds))
            for kinds in zip(*contenders.values(), strict=True)
        ],
    )


def groups(
    model: ModelOption = ENCODER,
    cohort: Annotated[
        Path | None, typer.Option(help="The cohort's card. Default: vae_cohort beside the model.")
    ] = None,
    data: DataOption = TRAIN,
    out: ReportOption = Path("runs/groups"),
) -> None:
    """False matches and sigma by age group, gender and origin, on pictures held out of training.

    Example: facestream-train groups
    """
    held = split_identities(read_folder(data))[1]
    labelled = [row for row in held if row.dataset == "utkface" and attributes_of(row).gender]
    people = [row for row in held if row.identity is not None]
    if not labelled:
        raise DataError(f"no held-out picture in {data} has its groups in its name (UTKFace)")
    with encoding(model) as (encoder, progress):
        strangers = load_cohort(encoder.model_id, card=cohort or model.with_name("vae_cohort.json"))
        limits = _limits(encoder.card, strangers.card)
        found = embed_rows(encoder, data, labelled, cache=CACHE, progress=progress)
        named = embed_rows(encoder, data, people, cache=CACHE, progress=progress)
    rows = by_group.measure_groups(found, strangers, limits)
    known = by_group.measure_named(named, strangers, limits) if people else []
    lines = by_group.summary(rows, known)
    write_json(
        out / "report.json",
        {
            "model": encoder.model_id,
            "cohort": strangers.card.id,
            "thresholds": asdict(limits),
            "groups": [asdict(row) for row in rows],
            "named": [asdict(row) for row in known],
            "summary": lines,
        },
    )
    by_group.save_plot(rows, out / "groups.png")
    show(
        f"{encoder.model_id}: false matches within groups of UTKFace (nominal 0.10 %)",
        ("group", "pictures", "pairs", "left out", "FMR, cosine", "FMR, normalised", "sigma"),
        [
            (
                row.group,
                str(row.pictures),
                f"{row.pairs:,}",
                str(row.dropped),
                shown(row.fmr_cosine, ".2%"),
                shown(row.fmr_normalised, ".2%"),
                f"{row.sigma[1]:.2f} ({row.sigma[0]:.2f} to {row.sigma[2]:.2f})",
            )
            for row in rows
        ],
    )
    show(
        "held-out people with names",
        ("score", "people", "genuine pairs match", "impostor pairs match"),
        [
            (one.scoring, str(one.people), shown(one.tmr, ".2%"), shown(one.fmr, ".2%"))
            for one in known
        ],
    )
    for line in lines:
        typer.echo(line)


def _limits(encoder: ModelCard, cohort: ModelCard) -> by_group.Limits:
    if encoder.thresholds is None or cohort.thresholds is None:
        raise TrainingError(
            "the cards have no thresholds; run 'facestream-train evaluate --write-card' and "
            "'facestream-train cohort' first"
        )
    return by_group.Limits(encoder.thresholds.similarity, cohort.thresholds.similarity)


def probe(
    model: ModelOption = ENCODER,
    data: DataOption = TRAIN,
    out: ReportOption = Path("runs/probe"),
    limit: Annotated[int, typer.Option(min=20, help="Most pictures of each set.")] = 4000,
) -> None:
    """Read age group, gender and race out of frozen embeddings with a linear probe.

    Example: facestream-train probe --limit 2000
    """
    rows = probing.labelled(read_folder(data), limit)
    if not rows:
        raise DataError(f"no picture in {data} has an attribute in its name (UTKFace, SCUT)")
    with encoding(model) as (encoder, progress):
        results = probing.probe_all(embed_rows(encoder, data, rows, cache=CACHE, progress=progress))
    lines = [*probing.meaning(results), NO_EXPRESSION]
    report = {"model": encoder.model_id, "results": [asdict(r) for r in results], "meaning": lines}
    write_json(out / "report.json", report)
    probing.save_plot(results, out / "probe.png")
    show(
        f"linear probe of {encoder.model_id}",
        ("attribute", "latent", "pictures", "accuracy", "majority", "mean recall", "chance"),
        [
            (
                r.attribute,
                r.latent,
                str(r.pictures),
                shown(r.accuracy),
                f"{r.majority:.1%}",
                shown(r.balanced),
                f"{1 / len(r.classes):.1%}",
            )
            for r in results
        ],
    )
    for line in lines[len(results) :]:
        typer.echo(line)


def fewshot(
    model: ModelOption = ENCODER,
    lfw: LfwOption = LFW,
    out: ReportOption = Path("runs/fewshot"),
    draws: Annotated[int, typer.Option(min=2, help="Random draws.")] = 20,
    people: Annotated[int, typer.Option(min=2, help="People in each draw.")] = 50,
    samples: Annotated[int, typer.Option(min=1, help="Samples of each template.")] = 5,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
) -> None:
    """Identify people from 1, 2 and 5 pictures, with and without samples of the VAE.

    Example: facestream-train fewshot --out runs/fewshot
    """
    settings = few.FewShotSettings(draws=draws, people=people, samples=samples, seed=seed)
    names, halves = few.people_with(lfw, more_than=max(settings.shots))
    with encoding(model, threads) as (encoder, progress):
        pictures = few.embed_pictures(
            encoder, lfw, names, cache=CACHE, seed=seed, progress=progress
        )
        reported, tuning = pictures.of(halves["test"]), pictures.of(halves["dev"])
        rows = few.few_shot(reported, tuning, settings, progress=progress)
        precision = encoder.precision
    write_json(
        out / "fewshot.json",
        {
            "model": encoder.model_id,
            "precision": precision,
            "people": {half: len(found) for half, found in halves.items()},
            "pictures": len(names),
            "median_sigma": [round(float(np.exp(np.median(v) / 2)), 3) for v in pictures.logvar],
            "settings": asdict(settings),
            "rows": [asdict(row) for row in rows],
        },
    )
    few.save_plot(out / "fewshot.png", rows)
    show(
        f"{encoder.model_id}: rank-1 among {people}, {draws} draws, 95 % intervals",
        ("condition", "pictures", "method", "rank-1", "gain"),
        [
            (
                row.condition,
                str(row.shots),
                row.method,
                shown(row.rank_one, ".2%"),
                "" if row.gain.low == row.gain.high == 0 else shown(row.gain, "+.2%"),
            )
            for row in rows
        ],
    )
