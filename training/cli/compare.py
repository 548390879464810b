"""``facestream-train compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..comparison.contenders import CONTENDERS, CompareConfig
from ..comparison.report import COLUMNS, write_report
from ..comparison.run import Comparison
from ..comparison.run import compare as run_compare
from .console import (
    CACHE,
    SHARED,
    DataOption,
    TeacherOption,
    progress_bar,
    teller,
)


def compare(
    pictures: Annotated[
        int, typer.Option(min=2, help="Budget: pictures that each contender sees in training.")
    ] = 20_000,
    out: Annotated[Path, typer.Option(help="Folder of the run; what is done there stays.")] = Path(
        "runs/compare"
    ),
    contender: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these, in this order; of {', '.join(CONTENDERS)}."),
    ] = None,
    data: DataOption = SHARED / "train",
    teacher: TeacherOption = SHARED / "models/face_recognition_sface_2021dec.onnx",
    lfw: Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")] = (
        SHARED / "lfw"
    ),
    samples: Annotated[int, typer.Option(min=2, help="For the Fréchet distance.")] = 2000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    note: Annotated[str, typer.Option(help="A line for the report, e.g. on the machine.")] = "",
) -> None:
    """Train VAEs, a VAE-GAN and a GAN on the same pictures, and measure them side by side.

    A second call goes on where the first one stopped; contenders that are done are kept.

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
    with progress_bar() as bar:
        comparison = run_compare(config, out, progress=teller(bar))
    command = f"facestream-train compare --pictures {pictures} --samples {samples}"
    command += "".join(f" --contender {name}" for name in contender or ())
    command += f" --threads {threads} --seed {seed}"
    files = write_report(comparison, out, command=command, note=note)
    _show(comparison)
    typer.echo("wrote " + ", ".join(map(str, files)))


def _show(comparison: Comparison) -> None:
    results = comparison.results
    table = Table(
        *(name for name, _ in COLUMNS), title=f"{results[0].pictures:,} pictures seen by each"
    )
    for result in results:
        table.add_row(*(cell(result) for _, cell in COLUMNS))
    Console().print(table)
