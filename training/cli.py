"""The command line ``facestream-train``: thin; the work is in the modules beside it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from facestream.engines.cards import MODELS, read_card
from facestream.engines.errors import EngineError
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from .card import make_card, write_card
from .checkpoint import load_checkpoint, load_model, write_json
from .config import FitConfig
from .errors import TrainingError
from .evaluate import Report, embed_all, measure_doubt, save_plots, verify
from .export import export_encoder
from .fit import LAST, fit
from .lfw import read_crops, read_pairs

app = typer.Typer(
    name="facestream-train",
    help="Train, evaluate and export facestream's encoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
err = Console(stderr=True)
SHARED = Path("../shared/data")
CACHE = Path("runs/cache")


class DetectorMode(StrEnum):
    """Modes of the detector, see ``Mtcnn``."""

    FAST = "fast"
    EXACT = "exact"


DataOption = Annotated[Path, typer.Option(help="Folder of <set>.zip with <set>.csv.")]
TeacherOption = Annotated[Path, typer.Option(help="SFace's ONNX file (OpenCV Zoo).")]
OutOption = Annotated[Path, typer.Option(help="Folder of the run.")]


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on standard error; it shows nothing where there is no terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=err,
        disable=not err.is_terminal,
    ) as bar:
        yield bar


def _teller(bar: Progress) -> Callable[..., None]:
    """Turns (what, done, total[, figures]) into bars, one for each ``what``."""
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int, figures: dict[str, float] | None = None) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total, figures="")
        shown = ("loss", "sigma_mean", "sigma_spread", "kl", "speed")
        text = " ".join(f"{k} {v:.3g}" for k, v in (figures or {}).items() if k in shown)
        bar.update(tasks[what], completed=done, total=total, figures=text)
        if text and not err.is_terminal:
            err.print(f"{what} {done}/{total} {text}", highlight=False)

    return tell


def _run(config: FitConfig, out: Path, resume: Path | None) -> None:
    with _bar() as bar:
        figures = fit(config, out, resume=resume, progress=_teller(bar))
    table = Table("held-out people", "figure")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)


@app.command("fit")
def fit_command(
    out: OutOption = Path("runs/vae"),
    data: DataOption = SHARED / "train",
    teacher: TeacherOption = SHARED / "models/face_recognition_sface_2021dec.onnx",
    config: Annotated[
        Path | None, typer.Option(help="JSON of settings, e.g. an earlier run's config.json.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, e.g. --set steps=500 --set weights.kl=0.02."),
    ] = None,
) -> None:
    """Train a model.

    Example: facestream-train fit --out runs/vae --set steps=2000 --set threads=2
    """
    settings: dict[str, Any] = {}
    if config is not None:
        try:
            settings = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"cannot read the settings {config}: {error}") from error
    else:
        settings = {"data": str(data), "teacher": str(teacher)}
    for item in option or []:
        _set(settings, item)
    _run(_validated(settings), out, None)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run to go on with.")],
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, e.g. --set steps=4000.")
    ] = None,
) -> None:
    """Go on with a run from its last checkpoint.

    Example: facestream-train resume runs/vae
    """
    settings = json.loads(load_checkpoint(run / LAST)["config"])
    for item in option or []:
        _set(settings, item)
    _run(_validated(settings), run, run / LAST)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/vae/best.pt.")],
    out: Annotated[Path, typer.Option(help="The ONNX file; its card goes beside it.")] = Path(
        "runs/export/vae_encoder.onnx"
    ),
) -> None:
    """Write a checkpoint's encoder as ONNX with a model card (figures come with evaluate).

    Example: facestream-train export runs/vae/best.pt --out runs/export/vae_encoder.onnx
    """
    model, config = load_model(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    cosine = export_encoder(model.encoder, out)
    card = make_card(
        out,
        backbone=config.backbone,
        dim=config.dim,
        metrics={"parity_cosine": round(cosine, 6)},
        thresholds=None,
    )
    write_card(card, out.with_suffix(".json"))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, id {card.id}, cosine {cosine:.6f}")


@app.command()
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
    from facestream.pipeline.vision.encoder import Encoder

    pairs = read_pairs(lfw / "pairs.txt")
    full = pairs
    if folds < 10:
        pairs = pairs.folds(folds)
    with _bar() as bar, Encoder(model=model, threads=threads) as encoder:
        tell = _teller(bar)
        done = 0

        def detected(count: int) -> None:
            nonlocal done
            done += count
            tell("detect and align", done, len(pairs.names))

        crops = read_crops(
            lfw,
            pairs.names,
            mode="exact" if detector is DetectorMode.EXACT else "fast",
            cache=CACHE,
            threads=threads,
            progress=detected,
        )
        mu, logvar = embed_all(encoder, crops.faces, progress=tell)
        report = Report(
            model=encoder.model_id,
            backend=encoder.backend,
            precision=encoder.precision,
            verification=verify(pairs, mu, not_found=crops.not_found),
            doubt=measure_doubt(encoder, pairs, crops, mu, logvar, progress=tell)
            if doubt
            else None,
            notes=[] if pairs is full else [f"the first {folds} folds only"],
        )
    write_json(_folder(out) / "report.json", report.as_json())
    if plots:
        save_plots(out, pairs, mu)
    _show(report)
    if write:
        card = read_card(model)
        write_card(
            card.model_copy(
                update={
                    "metrics": {**card.metrics, **report.card_metrics()},
                    "thresholds": report.thresholds(),
                }
            ),
            model,
        )


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


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
        for kind, value in report.doubt.spearman.items():
            within = report.doubt.spearman_each[kind]
            table.add_row(f"sigma against {kind}", f"{value:.3f}", f"within a picture {within:.3f}")
        table.add_row("FNMR, degraded probes", f"{report.doubt.fnmr:.2%}", "")
        table.add_row("… without the 10 % of highest sigma", f"{report.doubt.fnmr_sigma:.2%}", "")
        table.add_row("… without the 10 % least sharp", f"{report.doubt.fnmr_sharpness:.2%}", "")
    Console().print(table)


def _set(settings: dict[str, Any], item: str) -> None:
    """Put ``name=value`` (or ``group.name=value``) into settings; values are JSON or text."""
    name, equals, text = item.partition("=")
    if not equals:
        raise TrainingError(f"--set wants name=value, not {item!r}")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *groups, last = name.split(".")
    for group in groups:
        settings = settings.setdefault(group, {})
    settings[last] = value


def _validated(settings: dict[str, Any]) -> FitConfig:
    try:
        return FitConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TrainingError(f"bad setting {where}: {first['msg']}") from error


def main() -> None:
    """Run the command line; exits with 2 on a mistake of the user's, 130 when interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except (TrainingError, EngineError) as error:
        err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("interrupted; the last checkpoint is kept")
        sys.exit(130)
