"""``facestream-train compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..comparison.compare import compare as run_compare
from ..comparison.contenders import CONTENDERS, CompareConfig
from ..comparison.report import COLUMNS, write_report
from .console import (
    CACHE,
    LFW,
    SFACE,
    TRAIN,
    DataOption,
    LfwOption,
    OutOption,
    SeedOption,
    TeacherOption,
    progress_bars,
    show,
)


def compare(
    pictures: Annotated[
        int, typer.Option(min=2, help="Budget: pictures that each contender sees in training.")
    ] = 20_000,
    out: OutOption = Path("runs/compare"),
    contender: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these, in this order; of {', '.join(CONTENDERS)}."),
    ] = None,
    data: DataOption = TRAIN,
    teacher: TeacherOption = SFACE,
    lfw: LfwOption = LFW,
    samples: Annotated[int, typer.Option(min=2, help="For the Fréchet distance.")] = 2000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    seed: SeedOption = 0,
    note: Annotated[str, typer.Option(help="A line for the report, e.g. on the machine.")] = "",
) -> None:
    """Train VAEs, a VAE-GAN and a GAN on the same pictures, and measure them side by side.

    A second call continues where the first one stopped; finished contenders are kept.

    Example: facestream-train compare --pictures 20000 --out runs/compare
    """
    config = CompareConfig(
        data=data,
        teacher=teacher,
        cache=CACHE,
        lfw=lfw,
        contenders=tuple(contender or CONTENDERS),
        pictures=pictures,
        samples=samples,
        threads=threads,
        seed=seed,
    )
    with progress_bars() as progress:
        comparison = run_compare(config, out, progress=progress)
    command = f"facestream-train compare --pictures {pictures} --samples {samples}"
    command += "".join(f" --contender {name}" for name in contender or ())
    command += f" --threads {threads} --seed {seed}"
    files = write_report(comparison, out, command=command, note=note)
    results = comparison.results
    show(
        f"{results[0].pictures:,} pictures seen by each",
        [name for name, _ in COLUMNS],
        [[cell(result) for _, cell in COLUMNS] for result in results],
    )
    typer.echo("wrote " + ", ".join(map(str, files)))
