"""``facestream-train fit``, ``fit-generator``, ``resume`` and ``curves``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..evaluation.plots import plot_curves
from ..fit.checkpoint import load_checkpoint
from ..fit.config import FitConfig
from ..fit.loop import LAST
from ..fit.run import fit
from ..generation.fit_generator import fit_generator, is_generator, measure_prior
from ..generation.generator_config import GeneratorConfig
from .console import (
    SFACE,
    TRAIN,
    DataOption,
    OutOption,
    SettingOption,
    TeacherOption,
    progress_bars,
    read_json,
    show_figures,
    validated,
)


def fit_command(
    out: OutOption = Path("runs/vae"),
    data: DataOption = TRAIN,
    teacher: TeacherOption = SFACE,
    config: Annotated[
        Path | None, typer.Option(help="JSON of settings, e.g. an earlier run's config.json.")
    ] = None,
    option: SettingOption = None,
) -> None:
    """Train a model.

    Example: facestream-train fit --out runs/vae --set steps=2000 --set threads=2
    """
    settings: dict[str, Any] = {"data": str(data), "teacher": str(teacher)}
    if config is not None:
        settings = read_json(config, "settings")
    _fit(validated(FitConfig, settings, option), out, None)


def fit_generator_command(
    out: OutOption = Path("runs/generator"),
    data: DataOption = TRAIN,
    teacher: TeacherOption = SFACE,
    option: SettingOption = None,
) -> None:
    """Train the generator: a VAE, or with objective=vae-gan a VAE-GAN.

    Resume it with: facestream-train resume RUN

    Example: facestream-train fit-generator --set objective=vae-gan --set init=runs/vae/last.pt
    """
    settings = {"data": str(data), "teacher": str(teacher)}
    _fit_generator(validated(GeneratorConfig, settings, option), out, None)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run to continue.")],
    option: SettingOption = None,
) -> None:
    """Continue a run from its last checkpoint.

    Example: facestream-train resume runs/vae --set steps=4000
    """
    state = load_checkpoint(run / LAST)
    settings = json.loads(state["config"])
    if is_generator(state):
        _fit_generator(validated(GeneratorConfig, settings, option), run, run / LAST)
    else:
        _fit(validated(FitConfig, settings, option), run, run / LAST)


def curves(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, e.g. runs/vae.")],
    out: Annotated[
        Path | None, typer.Option(help="The PNG; curves.png in the first run when left out.")
    ] = None,
) -> None:
    """Plot losses and validation figures of one run, or of several over one another.

    Example: facestream-train curves runs/vae runs/vae_margin --out runs/curves.png
    """
    path = out or runs[0] / "curves.png"
    names = [run.resolve().name for run in runs]
    # By the folder's name, or by the whole path where two folders have one name.
    named = {
        name if names.count(name) == 1 else str(run): run
        for name, run in zip(names, runs, strict=True)
    }
    drawn = plot_curves(named, path)
    typer.echo(f"{path}: {len(drawn)} figures of {len(runs)} run{'s' * (len(runs) > 1)}")


def _fit(config: FitConfig, out: Path, last: Path | None) -> None:
    with progress_bars() as progress:
        figures = fit(config, out, resume=last, progress=progress)
    show_figures(figures)


def _fit_generator(config: GeneratorConfig, out: Path, last: Path | None) -> None:
    with progress_bars() as progress:
        figures = fit_generator(config, out, resume=last, progress=progress)
    if figures:  # the first of several processes
        measure_prior(out / LAST, out / "prior.npy")
    show_figures(figures)
