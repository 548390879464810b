"""Flags that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = "[bold]Examples[/bold]"


Gallery = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        "-g",
        metavar="PATH",
        help="Gallery of known people. Default: the one 'facestream gallery add' writes.",
    ),
]
MinFace = Annotated[
    int | None,
    typer.Option("--min-face", metavar="PX", help="Smallest face to look for, in pixels. [40]"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings; flags given here win. 'facestream config' prints all of them.",
    ),
]
