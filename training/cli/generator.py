"""``facestream-train fit-generator`` and ``evaluate-generator``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from ..errors import TrainingError
from ..fit.checkpoint import load_checkpoint, write_json
from ..fit.loop import LAST
from ..generation.config import GeneratorConfig
from ..generation.evaluate import (
    GeneratorReport,
    held_out_faces,
    measure_reconstruction,
    measure_repair,
    measure_samples,
    read_pictures,
)
from ..generation.repair import RepairOptions
from ..generation.run import KINDS, fit_generator, measure_prior
from ..generation.synthesis import SHIPPED, Synthesis
from .console import (
    SHARED,
    DataOption,
    OutOption,
    TeacherOption,
    folder,
    progress_bar,
    put_setting,
    teller,
)

SFACE = SHARED / "models/face_recognition_sface_2021dec.onnx"


def fit_generator_command(
    out: OutOption = Path("runs/generator"),
    data: DataOption = SHARED / "train",
    teacher: TeacherOption = SFACE,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, e.g. --set objective=vae-gan --set steps=500."),
    ] = None,
) -> None:
    """Train the generator: a VAE, or with objective=vae-gan a VAE-GAN.

    Resume it with: facestream-train resume RUN

    Example: facestream-train fit-generator --set objective=vae-gan --set init=runs/vae/last.pt
    """
    settings: dict[str, Any] = {"data": str(data), "teacher": str(teacher)}
    for item in option or []:
        put_setting(settings, item)
    run_generator(settings, out, None)


def is_generator(state: dict[str, Any]) -> bool:
    """Whether a checkpoint is of a generator's run."""
    return state.get("kind") in KINDS


def run_generator(settings: dict[str, Any], out: Path, resume: Path | None) -> None:
    """Train, measure the prior, and show the figures.

    Raises:
        TrainingError: a setting that cannot be used; and what ``fit_generator`` raises.
    """
    try:
        config = GeneratorConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TrainingError(f"bad setting {where}: {first['msg']}") from error
    with progress_bar() as bar:
        figures = fit_generator(config, out, resume=resume, progress=teller(bar))
    if not figures:
        return
    measure_prior(out / LAST, out / "prior.npy")
    table = Table("held-out people", "figure")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)


def evaluate_generator(
    model: Annotated[
        Path, typer.Option("--model", help="Card of a decoder (.json) or a checkpoint (.pt).")
    ] = SHIPPED,
    encoder: Annotated[
        Path | None, typer.Option(help="Card of the recogniser; the shipped one if not given.")
    ] = None,
    data: DataOption = SHARED / "train",
    teacher: TeacherOption = SFACE,
    out: Annotated[Path, typer.Option(help="Folder for report.json.")] = Path(
        "runs/evaluate-generator"
    ),
    pictures: Annotated[int, typer.Option(min=8, help="Held-out pictures.")] = 300,
    repairs: Annotated[int, typer.Option(min=2, help="Of them, how many are repaired.")] = 96,
    samples: Annotated[
        int, typer.Option(min=0, help="For the Fréchet distance; 0 leaves it out.")
    ] = 600,
    steps: Annotated[
        int, typer.Option(min=0, help="Of a repair's search.")
    ] = RepairOptions().steps,
) -> None:
    """Measure a generator on held-out people: reconstruction, repair, Fréchet distance.

    Example: facestream-train evaluate-generator --model runs/generator/last.pt
    """
    with progress_bar() as bar, Synthesis(model=model, encoder=encoder) as synthesis:
        tell = teller(bar)
        faces = read_pictures(data, held_out_faces(data, pictures))
        report = GeneratorReport(str(model), synthesis.encoder.model_id, len(faces))
        report.figures |= measure_reconstruction(synthesis, faces)
        if samples:
            both = read_pictures(data, held_out_faces(data, 2 * samples))
            half = len(both) // 2
            # Every second one: the list is sorted by set.
            report.frechet = measure_samples(
                synthesis, both[0 : 2 * half : 2], both[1 : 2 * half : 2], teacher=teacher
            )
        # The costly part comes last, and what was measured before it is kept.
        write_json(folder(out) / "report.json", report.as_json())
        chosen = faces[:: max(1, len(faces) // repairs)][:repairs]
        report.figures |= measure_repair(
            synthesis, chosen, options=RepairOptions(steps=steps), tell=tell
        )
    write_json(folder(out) / "report.json", report.as_json())
    _show(report)


def _show(report: GeneratorReport) -> None:
    table = Table(
        "figure", "mean", "95 % interval", title=f"{report.model}, {report.pictures} pictures"
    )
    for name, one in report.figures.items():
        table.add_row(name, f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}")
    for name, value in report.frechet.items():
        table.add_row(f"Fréchet, {name}", f"{value:.1f}", "")
    Console().print(table)


def resume_generator(state_path: Path, run: Path, options: list[str]) -> None:
    """Go on with a generator's run."""
    settings = json.loads(load_checkpoint(state_path)["config"])
    for item in options:
        put_setting(settings, item)
    run_generator(settings, run, state_path)
