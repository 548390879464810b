"""Flags that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = "[bold]Examples[/bold]"


class BackendName(StrEnum):
    """What runs the networks."""

    AUTO = "auto"
    OPENVINO = "openvino"
    TORCH = "torch"
    TENSORRT = "tensorrt"


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
Backend = Annotated[
    BackendName | None,
    typer.Option("--backend", help="What runs the networks. [auto]"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings; flags given here win. 'facestream config' prints all of them.",
    ),
]
