"""The commands and their flags; what they do is in the other modules, imported when called.

Exit status: 0 all good, 1 a stage or engine failed, 2 a mistake in what was asked, 3 finished
but some input was unreadable or truncated, 130 interrupted (the files are complete).
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from .bench import bench_app
from .calibrate import EPILOG as CALIBRATE_EPILOG
from .calibrate import calibrate
from .cameras import cameras_app
from .console import print_json, set_up_logging
from .correct_command import CORRECT_EPILOG, UNDO_EPILOG, correct, undo
from .database import db_app
from .demo import demo_app
from .engines import engines_app
from .errors import guarded
from .export import DIGEST_EPILOG, EXPORT_EPILOG, MCP_EPILOG, digest, export, mcp
from .flags import Config, Json, command_group, examples
from .forget_command import FORGET_EPILOG, forget
from .gallery_photos import gallery_app
from .picture_commands import EMBED_EPILOG, IDENTIFY_EPILOG, embed, identify
from .redact_command import REDACT_EPILOG, redact
from .run_command import RUN_EPILOG, run
from .serve_command import serve_app
from .sightings_commands import SEARCH_EPILOG, WHO_EPILOG, WHY_EPILOG, search, who, why
from .unknown import unknown_app
from .webhook import webhook_app

app = command_group(
    "facestream",
    "Says who was seen in video files and cameras, where and when, and how sure it is.",
    epilog=examples(
        "facestream gallery add 'Ada Lovelace' ada1.jpg ada2.jpg",
        "facestream run party.mp4 --out seen",
        "facestream run rtsp://camera/stream --events seen.jsonl --restream :8080",
        "facestream doctor",
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        from ..core.versions import facestream_version

        print(f"facestream {facestream_version()}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Log details, and show the traceback of any error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    set_up_logging(debug=debug)


app.command(epilog=RUN_EPILOG)(run)
app.command(epilog=IDENTIFY_EPILOG)(identify)
app.command(epilog=EMBED_EPILOG)(embed)
app.command(epilog=REDACT_EPILOG)(redact)
app.command(epilog=CALIBRATE_EPILOG)(calibrate)
app.command(epilog=WHO_EPILOG)(who)
app.command(epilog=SEARCH_EPILOG)(search)
app.command(epilog=WHY_EPILOG)(why)
app.command(epilog=FORGET_EPILOG)(forget)
app.command(epilog=CORRECT_EPILOG)(correct)
app.command(epilog=UNDO_EPILOG)(undo)
app.command(epilog=EXPORT_EPILOG)(export)
app.command(epilog=DIGEST_EPILOG)(digest)
app.command(epilog=MCP_EPILOG)(mcp)


@app.command(epilog=examples("facestream doctor", "facestream doctor --json > machine.json"))
def doctor(as_json: Json = False) -> None:
    """Check this installation: versions, devices, models, a real inference, a real search."""
    from .doctor import diagnose

    raise typer.Exit(diagnose(as_json=as_json))


@app.command(epilog=examples("facestream schema > events.schema.json"))
def schema() -> None:
    """Print the JSON Schema of a line of events.jsonl, for all types of events."""
    from ..core.events import json_schema

    print_json(json_schema())


@app.command(
    epilog=examples(
        "facestream config > facestream.toml",
        "facestream config --config facestream.toml",
        "FACESTREAM_DETECTOR_MIN_FACE=20 facestream config",
    )
)
def config(
    file: Config = None,
    environment: Annotated[
        bool, typer.Option("--environment", help="List the environment variables instead.")
    ] = False,
) -> None:
    """Print the effective settings as TOML: defaults, --config file, environment."""
    from ..core.config import environment_names, load_settings, to_toml

    if environment:
        for name, key in environment_names().items():
            print(f"{name:42} {key}")
        return
    print(to_toml(load_settings(file=file, environment=os.environ)), end="")


app.add_typer(gallery_app, name="gallery")
app.add_typer(db_app, name="db")
app.add_typer(unknown_app, name="unknown")
app.add_typer(serve_app)
app.add_typer(webhook_app)
app.add_typer(engines_app, name="engines")
app.add_typer(cameras_app)
app.add_typer(bench_app)
app.add_typer(demo_app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is returned, what went wrong is on stderr."""
    return guarded(app, arguments)
