"""The flags of ``facestream who``, ``search`` and ``why``; see ``who`` and ``search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .flags import Cameras, Config, Database, Json, Since, Until, argument, examples

WHO_EPILOG = examples(
    "facestream who --db house.db",
    "facestream who --name Ada --since 7d",
    "facestream who --camera door --verdict stranger --since yesterday --until today --json",
    "[bold]Times[/bold]: 2026-11-30, '2026-11-30 14:05' (of this machine's zone unless they "
    "name another), today, yesterday, or so long ago: 90min, 2h, 7d, 2w.",
)
SEARCH_EPILOG = examples(
    "facestream search visitor.jpg --db house.db",
    "facestream search visitor.jpg --since 7d --html visits.html",
    "Listed is only what is similar enough that, of people who were never there, no more than "
    "the share recognition.false_alarms (2 %) is found at all; so the more sightings there "
    "are, the more similar they must be.",
)
WHY_EPILOG = examples("facestream why 8dbf7d5a --db house.db")


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
    from .who import list_sightings, open_sightings, wanted_by

    wanted = wanted_by(camera, since, until, name, verdict)
    sightings, _ = open_sightings(db, config)
    with sightings:
        list_sightings(sightings, wanted, limit=limit, as_json=as_json)


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
