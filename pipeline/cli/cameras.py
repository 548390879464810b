"""``facestream cameras``: the flags; the work is in ``probing.py``, imported when called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

cameras_app = typer.Typer()


@cameras_app.command(
    epilog=(
        "[bold]Examples[/bold]\n\n"
        "facestream cameras --config house.toml\n\n"
        "facestream cameras --config house.toml --probe\n\n"
        "facestream cameras door --config house.toml --picture look\n\n"
        "Exit status: 0 all good, 2 wrong usage, 3 a camera cannot be used."
    )
)
def cameras(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME...", help="Cameras to list. [all]", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Settings with [cameras.NAME] tables."),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Open each camera and say what it delivers.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="DIR",
            help="Also save a picture of each, with what is watched, masked and searched drawn in.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the cameras of the settings, check them, and look through them."""
    from .camera_probe import Inquiry, list_cameras

    form: Literal["json", "table"] = "json" if as_json else "table"
    inquiry = Inquiry(tuple(names or ()), probe=probe or picture is not None, pictures=picture)
    raise typer.Exit(list_cameras(inquiry, config=config, form=form))
