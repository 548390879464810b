"""``facestream-train curves``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..evaluation.plots import plot_curves


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
    drawn = plot_curves(_named(runs), path)
    typer.echo(f"{path}: {len(drawn)} figures of {len(runs)} run{'s' * (len(runs) > 1)}")


def _named(runs: list[Path]) -> dict[str, Path]:
    """By the folder's name, or by the whole path where two folders have one name."""
    names = [run.resolve().name for run in runs]
    return {
        name if names.count(name) == 1 else str(run): run
        for name, run in zip(names, runs, strict=True)
    }
