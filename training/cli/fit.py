"""``facestream-train fit`` and ``resume``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from ..errors import TrainingError
from ..fit.checkpoint import load_checkpoint
from ..fit.config import FitConfig
from ..fit.loop import LAST
from ..fit.run import fit
from .console import (
    SHARED,
    DataOption,
    OutOption,
    TeacherOption,
    progress_bar,
    put_setting,
    teller,
)
from .generator import is_generator, resume_generator


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
        put_setting(settings, item)
    _run(_validated(settings), out, None)


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run to go on with.")],
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting, e.g. --set steps=4000.")
    ] = None,
) -> None:
    """Go on with a run from its last checkpoint.

    Example: facestream-train resume runs/vae
    """
    state = load_checkpoint(run / LAST)
    if is_generator(state):
        resume_generator(run / LAST, run, option or [])
        return
    settings = json.loads(state["config"])
    for item in option or []:
        put_setting(settings, item)
    _run(_validated(settings), run, run / LAST)


def _run(config: FitConfig, out: Path, resume: Path | None) -> None:
    with progress_bar() as bar:
        figures = fit(config, out, resume=resume, progress=teller(bar))
    if not figures:  # not the first of several processes
        return
    table = Table("held-out people", "figure")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)


def _validated(settings: dict[str, Any]) -> FitConfig:
    try:
        return FitConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TrainingError(f"bad setting {where}: {first['msg']}") from error
