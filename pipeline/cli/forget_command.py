"""``facestream forget``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .flags import Config, Database, Json, Yes, argument, examples

FORGET_EPILOG = examples(
    "facestream forget 'Ada Lovelace' --db house.db",
    "facestream forget 8dbf7d5a 01c2aa90 --db house.db",
    "facestream forget --unknown-older-than 30d --db house.db --yes   (in scripts)",
    "facestream forget Ada --events seen/events.jsonl --pictures seen/pictures --dry-run",
    "Exit status: 0 it is gone, and that is proved; 1 it is gone as far as named, and a check "
    "failed. Backups, and outputs that are not named, are out of reach.",
)


def forget(
    who: Annotated[
        list[str] | None,
        argument("PERSON|SIGHTING...", "Names of people, or ids of sightings (the beginning)."),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="Sightings begun before that.")
    ] = None,
    unknown_older_than: Annotated[
        str | None,
        typer.Option(
            "--unknown-older-than",
            metavar="DURATION",
            help="Sightings without a name that began longer ago, e.g. 30d.",
        ),
    ] = None,
    events: Annotated[
        list[Path] | None,
        typer.Option(
            "--events",
            metavar="FILE.jsonl",
            help="Also rewrite this file of events, and erase the pictures that it names; "
            "repeatable.",
        ),
    ] = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            "--pictures",
            metavar="FOLDER",
            help="Also erase pictures of this folder that are named after the person; repeatable.",
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE.json", help="Write the receipt into a file too."),
    ] = None,
    with_name: Annotated[
        bool, typer.Option("--with-name", help="Keep the person's name in the receipt.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Erase people or sightings for good: rows, embeddings, pictures; with a proof."""
    from .forget import ForgetOptions, forget_command
    from .who import moment, open_sightings

    options = ForgetOptions(
        who=tuple(who or ()),
        before=moment("--before", before),
        unknown_before=moment("--unknown-older-than", unknown_older_than),
        events=tuple(events or ()),
        pictures=tuple(pictures or ()),
        receipt=receipt,
        named=with_name,
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
    )
    sightings, settings = open_sightings(db, config)
    with sightings:
        raise typer.Exit(forget_command(options, sightings, settings))
