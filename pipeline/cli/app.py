"""The commands and their flags; what they do is in the other modules, imported when called.

Exit status: 0 all good, 1 a stage or engine failed, 2 a mistake in what was asked, 3 finished
but some input was unreadable or truncated, 130 interrupted (the files are complete).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .bench import bench_app
from .cameras import cameras_app
from .console import print_json, set_up_logging
from .database import db_app
from .demo import demo_app
from .engines import engines_app
from .errors import guarded
from .flags import (
    NETWORKS,
    Cameras,
    Config,
    Database,
    Gallery,
    Json,
    MinFace,
    Since,
    Threshold,
    Until,
    argument,
    command_group,
    examples,
    with_devices,
)
from .gallery_edit import gallery_app
from .run_command import RUN_EPILOG, run

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


@app.command(
    epilog=examples(
        "facestream identify group.jpg", "facestream identify *.jpg --json --gallery friends.db"
    )
)
@with_devices(*NETWORKS, "index")
def identify(
    images: Annotated[list[Path], argument("IMAGE...", "Picture files or folders of them.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON array with an object per picture.")
    ] = False,
    gallery: Gallery = None,
    min_face: MinFace = None,
    threshold: Threshold = None,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Say who is in pictures: faces, names, similarities, boxes."""
    from .identify import identify_images

    flags = devices | {"detector.min_face": min_face, "recognition.threshold": threshold}
    raise typer.Exit(
        identify_images(images, gallery=gallery, as_json=as_json, config=config, flags=flags)
    )


@app.command(
    epilog=examples(
        "facestream embed photos/ --out faces.npz",
        "find / -name '*.jpg' | facestream embed - --out all.npz --largest",
        "[bold]Arrays[/bold] (N faces; with --largest a row per picture, in the order given)",
        "path (N), box (N×4), score (N), landmarks (N×5×2), embedding (N×D, length 1), "
        "sigma (N), logvar (N×D); unreadable and unreadable_reason; model",
    )
)
@with_devices(*NETWORKS)
def embed(
    paths: Annotated[
        list[str],
        argument(
            "PATH...", "Picture files or folders; - reads a list of paths, one a line, from stdin."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="File to write.")],
    largest: Annotated[
        bool,
        typer.Option(
            "--largest",
            help="Keep the largest face of each picture; a picture without one has a row of NaN "
            "with score 0.",
        ),
    ] = False,
    min_face: MinFace = None,
    config: Config = None,
    *,
    devices: dict[str, Any],
) -> None:
    """Turn the faces in pictures into embeddings, for many pictures at once."""
    from .embed import embed_paths

    flags = devices | {"detector.min_face": min_face}
    keep: Literal["largest", "all"] = "largest" if largest else "all"
    raise typer.Exit(embed_paths(paths, out=out, keep=keep, config=config, flags=flags))


@app.command(
    epilog=examples(
        "facestream who --db house.db",
        "facestream who --name Ada --since 7d",
        "facestream who --camera door --verdict stranger --since yesterday --until today --json",
        "[bold]Times[/bold]: 2026-11-30, '2026-11-30 14:05' (of this machine's zone unless they "
        "name another), today, yesterday, or so long ago: 90min, 2h, 7d, 2w.",
    )
)
def who(
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="Of this person; unknown: without a name; repeatable."
        ),
    ] = None,
    verdict: Annotated[
        Literal["known", "stranger", "unsure"] | None,
        typer.Option("--verdict", help="With this verdict."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")
    ] = 50,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Say who was seen: the sightings that runs with --db stored, newest first."""
    from ..sightings import SightingFilter
    from .who import list_sightings, moment, open_sightings

    wanted = SightingFilter(
        sources=None if camera is None else tuple(camera),
        since=moment("--since", since),
        until=moment("--until", until),
        names=None if name is None else tuple(name),
        verdicts=None if verdict is None else (verdict,),
    )
    sightings, _ = open_sightings(db, config)
    with sightings:
        list_sightings(sightings, wanted, limit=limit, as_json=as_json)


@app.command(
    epilog=examples(
        "facestream search visitor.jpg --db house.db",
        "facestream search visitor.jpg --since 7d --html visits.html",
        "Listed is only what is similar enough that, of people who were never there, no more than "
        "the share recognition.false_alarms (2 %) is found at all; so the more sightings there "
        "are, the more similar they must be.",
    )
)
def search(
    photo: Annotated[Path, argument("PHOTO", "A picture; its largest face is searched.")],
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")
    ] = 100,
    page: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE.html", help="Write a page with the pictures, one file."
        ),
    ] = None,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Say where and when the face in a photo was seen, named or not."""
    from .search import SearchRequest, search_photo
    from .who import moment, open_sightings

    request = SearchRequest(
        photo,
        since=moment("--since", since),
        until=moment("--until", until),
        sources=None if camera is None else tuple(camera),
        limit=limit,
        page=page,
    )
    sightings, settings = open_sightings(db, config)
    with sightings:
        search_photo(request, sightings, settings, as_json=as_json)


@app.command(epilog=examples("facestream why 8dbf7d5a --db house.db"))
def why(
    sighting: Annotated[str, argument("ID", "A sighting; the beginning of its id will do.")],
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Say on what evidence a sighting was named, or why it was not."""
    from .search import explain
    from .who import open_sightings

    sightings, settings = open_sightings(db, config)
    with sightings:
        explain(sighting, sightings, settings, as_json=as_json)


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
app.add_typer(engines_app, name="engines")
app.add_typer(cameras_app)
app.add_typer(bench_app)
app.add_typer(demo_app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is returned, what went wrong is on stderr."""
    return guarded(app, arguments)
