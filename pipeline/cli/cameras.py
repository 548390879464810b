"""``facestream cameras``: the cameras of the settings, and what they deliver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .console import plural, print_json, say, stdout, table, warn
from .errors import BAD_INPUT
from .flags import Config, Json, argument, examples

if TYPE_CHECKING:
    from ..core.config import Settings
    from ..observability.camera_probe import CameraReport

cameras_app = typer.Typer()


@cameras_app.command(
    epilog=examples(
        "facestream cameras --config house.toml",
        "facestream cameras --config house.toml --probe",
        "facestream cameras door --config house.toml --picture look",
        "Exit status: 0 all good, 2 wrong usage, 3 a camera cannot be used.",
    )
)
def cameras(
    names: Annotated[list[str] | None, argument("NAME...", "Cameras to list. [all]")] = None,
    config: Config = None,
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
    as_json: Json = False,
) -> None:
    """List the cameras of the settings, check them, and look through them."""
    from ..core.config import load_settings
    from ..observability.camera_probe import probe_cameras
    from ..sinks.files import make_folder

    settings = load_settings(file=config, environment=os.environ)
    settings.storage.apply()
    if picture is not None:
        make_folder(picture)
    read: Any = "frame" if picture is not None else "properties" if probe else "nothing"
    reports = probe_cameras(names or [], settings, os.environ, read=read)
    pictures = {} if picture is None else _save(reports, settings, picture)
    if as_json:
        print_json([_as_json(report, pictures.get(report.name)) for report in reports])
    else:
        stdout().print(_table(reports, probed=read != "nothing"))
        for report in reports:
            if report.name in pictures:
                say(f"Wrote {pictures[report.name]}")
            if report.problem is not None:
                warn(report.problem)
    raise typer.Exit(BAD_INPUT if any(report.problem for report in reports) else 0)


def _save(reports: Sequence[CameraReport], settings: Settings, folder: Path) -> dict[str, Path]:
    from ..core.filenames import cut
    from ..detection.region import view_of
    from ..sinks.files import OutputNames, write_jpeg
    from ..sinks.video.regions import draw_regions

    saved, names = dict[str, Path](), OutputNames("replace")
    for report in reports:
        if report.frame is not None:
            path = saved[report.name] = names.unused(folder / f"{cut(report.name, 200)}.jpg")
            drawn = draw_regions(report.frame, view_of(settings, report.name), title=report.name)
            write_jpeg(path, drawn)
    return saved


def _as_json(report: CameraReport, picture: Path | None) -> dict[str, Any]:
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    del values["frame"]
    shown = None if picture is None else str(picture)
    return {**values, "picture": shown}


def _table(reports: Sequence[CameraReport], *, probed: bool) -> Table:
    delivers = ["Delivers"] if probed else []
    shown = table("Camera", "Source", "Watched", "Search", *delivers, "State")
    for report in reports:
        cells = [report.name, report.source, _watched(report), _search(report)]
        cells += [_delivers(report)] if probed else []
        state = "problem" if report.problem else "ok" if report.enabled else "not enabled"
        # Text, not markup: brackets are part of addresses.
        shown.add_row(*map(Text, cells), Text(state, "red" if report.problem else "green"))
    return shown


def _watched(report: CameraReport) -> str:
    if report.open is None:
        return "always"
    until = "" if report.next_change is None else f" until {report.next_change}"
    return f"{'now' if report.open else 'not now,'}{until}"


def _search(report: CameraReport) -> str:
    parts = [
        "every frame" if report.detect_every == 1 else f"1 frame in {report.detect_every}",
        f"faces from {report.min_face} px",
    ]
    if report.detect_size is not None:
        parts.append(f"at {report.detect_size} px")
    for count, what in ((report.watch, "watched"), (report.mask, "masked")):
        if count:
            parts.append(plural(count, f"{what} area"))
    return ", ".join(parts)


def _delivers(report: CameraReport) -> str:
    if report.width is None or report.height is None:
        return "–"
    rate = "" if report.fps is None else f" {report.fps:g} fps"
    return f"{report.width}×{report.height}{rate} {report.codec or ''}".rstrip()
