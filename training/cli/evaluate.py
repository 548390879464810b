"""``facestream-train evaluate``."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.engines.cards import MODELS, read_card
from facestream.engines.options import Serving
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ..evaluation.doubt import measure_doubt
from ..evaluation.embed import counted, embed_all
from ..evaluation.evaluate import FMR, Report, verify
from ..evaluation.lfw import Pairs, read_crops, read_pairs
from ..evaluation.plots import plot_rejects, plot_sigma, plot_verification
from ..export.card import write_card
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    folder,
    progress_bar,
    teller,
)


class DetectorMode(StrEnum):
    """Modes of the detector, see ``Mtcnn``."""

    FAST = "fast"
    EXACT = "exact"


def evaluate(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    lfw: Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")] = (
        SHARED / "lfw"
    ),
    out: Annotated[Path, typer.Option(help="Folder for report.json and plots.")] = Path(
        "runs/evaluate"
    ),
    folds: Annotated[int, typer.Option(min=2, max=10, help="Use the first folds only.")] = 10,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    doubt: Annotated[
        bool, typer.Option("--doubt/--no-doubt", help="Measure what sigma is worth, too.")
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
    from facestream.pipeline.recognition.encoder import Encoder

    pairs = read_pairs(lfw / "pairs.txt")
    full = pairs
    if folds < 10:
        pairs = pairs.folds(folds)
    with progress_bar() as bar, Encoder(model=model, serving=Serving(threads=threads)) as encoder:
        tell = teller(bar)
        crops = read_crops(
            lfw,
            pairs.names,
            mode="exact" if detector is DetectorMode.EXACT else "fast",
            cache=CACHE,
            threads=threads,
            progress=counted(tell, "detect and align", len(pairs.names)),
        )
        mu, logvar = embed_all(encoder, crops.faces, progress=tell)
        report = Report(
            model=encoder.model_id,
            backend=encoder.backend,
            precision=encoder.precision,
            verification=verify(pairs, mu, not_found=crops.not_found),
            doubt=measure_doubt(
                encoder, lfw, pairs, crops, (mu, logvar), fmr=FMR, cache=CACHE, progress=tell
            )
            if doubt
            else None,
            notes=[] if pairs is full else [f"the first {folds} folds only"],
        )
    write_json(folder(out) / "report.json", report.as_json())
    if plots:
        _plot(out, report, pairs, mu)
    _show(report)
    if write:
        _write(model, report)


def _write(model: Path, report: Report) -> None:
    """Put it on the card; what ``facestream-train cohort`` wrote there stays."""
    card = read_card(model)
    kept = None if card.thresholds is None else card.thresholds.false_matches
    found = {
        "metrics": {**card.metrics, **report.card_metrics()},
        "thresholds": report.thresholds().model_copy(update={"false_matches": kept}),
    }
    write_card(card.model_copy(update=found), model)


def _plot(out: Path, report: Report, pairs: Pairs, mu: NDArray[np.float32]) -> None:
    unit = normalise(mu).astype(np.float64)
    similarity = (unit[pairs.left] * unit[pairs.right]).sum(axis=1)
    plot_verification(
        {report.model: (similarity[pairs.genuine], similarity[~pairs.genuine])},
        out / "lfw.png",
        threshold=report.verification.threshold,
    )
    if report.doubt is not None:
        plot_rejects(report.doubt.rejects, out / "reject.png")
        plot_sigma(report.doubt.monotony, out / "sigma.png")


def _show(report: Report) -> None:
    lfw = report.verification
    table = Table("figure", "value", "95 % interval", title=f"{report.model} ({report.precision})")
    table.add_row(
        "LFW accuracy (10-fold)",
        f"{lfw.accuracy.value:.2%} ± {lfw.deviation:.2%}",
        f"{lfw.accuracy.low:.2%} to {lfw.accuracy.high:.2%}",
    )
    for far, tar in lfw.tar.items():
        table.add_row(f"TAR at FAR {far}", f"{tar.value:.2%}", f"{tar.low:.2%} to {tar.high:.2%}")
    table.add_row("threshold at FMR 0.1 % (protocol, default)", f"{lfw.threshold:.4f}", "")
    table.add_row(
        f"threshold at FMR 0.1 % ({lfw.all_pairs:,} pairs)", f"{lfw.threshold_all_pairs:.4f}", ""
    )
    table.add_row("pictures without a face found", str(lfw.not_found), "")
    if report.doubt is not None:
        for kind, value in report.doubt.monotony.spearman.items():
            within = report.doubt.monotony.within[kind]
            table.add_row(f"sigma against {kind}", f"{value:.3f}", f"within a picture {within:.3f}")
        for reject in report.doubt.rejects:
            name = f"{reject.severity}ly degraded probes"
            table.add_row(f"FNMR, {name}", f"{reject.fnmr:.2%}", f"{reject.lost} not detected")
            for by, left, saved in (
                ("highest sigma", reject.fnmr_sigma, reject.saved_sigma),
                ("worst size, sharpness, score", reject.fnmr_baseline, reject.saved_baseline),
            ):
                span = f"saves {saved.value:.0%} ({saved.low:.0%} to {saved.high:.0%})"
                table.add_row(f"… without the 10 % of {by}", f"{left:.2%}", span)
            table.add_row("… without the 10 % least similar", f"{reject.fnmr_oracle:.2%}", "")
        limit = report.doubt.limit
        if isfinite(limit.value):
            beyond = f"{limit.beyond:.1%} beyond it, {limit.fnmr:.1%} of them missed"
            table.add_row("greatest sigma that is named", f"{limit.value:.3f}", beyond)
    Console().print(table)
