"""``facestream db``: the database of people and sightings as a whole."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from .flags import Config, Database, Json, argument, command_group, examples
from .keys import key_app

log = logging.getLogger(__name__)

db_app = command_group(
    "db",
    "The database of people and sightings: check it, back it up, restore it, upgrade it.",
    epilog=examples(
        "facestream db check --db house.db",
        "facestream db backup house-monday.tar --db house.db",
        "facestream db restore house-monday.tar --db restored.db",
    ),
)
db_app.add_typer(key_app)


@db_app.command(
    epilog=examples("facestream db check --db house.db", "Status 3: it found something.")
)
def check(
    mend: Annotated[
        bool,
        typer.Option(
            "--mend",
            help="Erase files among the pictures that nothing refers to, older than an hour.",
        ),
    ] = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Check the database, and compare the pictures with what was written."""
    from ..sightings.maintenance import check_database
    from ..sightings.maintenance import mend as mended
    from .console import print_json, say
    from .errors import BAD_INPUT
    from .progress import show_count
    from .who import open_sightings

    sightings, _ = open_sightings(db, config)
    with sightings, show_count("pictures", None) as progress:
        found = check_database(sightings, progress=progress)
        if mend:
            found = mended(sightings, found)
        count = sightings.count()
    if as_json:
        print_json({"findings": [one.to_dict() for one in found]})
    else:
        for one in found:
            say(f"{one.problem.replace('_', ' ')}: {one.what}")
        say(f"{count:,} sightings, {len(found) or 'nothing'} wrong")
    raise typer.Exit(BAD_INPUT if found else 0)


@db_app.command(epilog=examples("facestream db backup house-monday.tar --db house.db"))
def backup(
    target: Annotated[Path, argument("FILE.tar", "The file to write; it must not exist.")],
    db: Database = None,
    config: Config = None,
) -> None:
    """Write the database and its pictures into one file; runs may go on meanwhile."""
    from ..sightings.backup import back_up
    from .console import plural, say
    from .progress import show_count
    from .who import open_sightings

    sightings, _ = open_sightings(db, config)
    with sightings, show_count("pictures", None) as progress:
        count = back_up(sightings, target, progress=progress)
    say(f"Wrote {target}: {plural(count, 'picture')}")


@db_app.command(epilog=examples("facestream db restore house-monday.tar --db restored.db"))
def restore(
    source: Annotated[Path, argument("FILE.tar", "A file that 'facestream db backup' wrote.")],
    db: Annotated[
        str,
        typer.Option(
            "--db", metavar="FILE|URL", help="The database to make; must not exist, or be empty."
        ),
    ],
    config: Config = None,
) -> None:
    """Make a database of a backup, with its pictures."""
    from ..core.location import locate
    from ..sightings.backup import restore as restored
    from .console import plural, say
    from .gallery import settings_of

    location = locate(db)
    count = restored(source, location, media=settings_of(config).storage.media)
    say(f"Restored {location}: {plural(count, 'picture')}")


@db_app.command(
    "import",
    epilog=examples(
        "facestream db import seen/events.jsonl --db house.db",
        "Embeddings are in the file if the run had events.embeddings = true; without them the "
        "sightings are listed and not searched. Importing a file again changes nothing.",
    ),
)
def import_(
    file: Annotated[Path, argument("EVENTS.jsonl", "What 'facestream run --events' wrote.")],
    db: Annotated[
        str | None,
        typer.Option("--db", metavar="FILE|URL", help="The database; made where it is missing."),
    ] = None,
    config: Config = None,
) -> None:
    """Store the sightings of a file of events, with their pictures."""
    from facestream.engines.cards import load_card

    from ..recognition.encoder import DEFAULT_MODEL
    from ..sightings.transfer import import_events
    from .console import plural, say, warn
    from .errors import BAD_INPUT
    from .who import open_sightings

    card = load_card(DEFAULT_MODEL)
    width = card.outputs[0].shape[-1]
    sightings, _ = open_sightings(db, config, create="if_missing")
    with sightings:
        done = import_events(sightings, file, model=(card.id, width or 0))
    say(f"Imported {plural(done.sightings, 'sighting')} into {sightings.location}")
    if done.without_embedding:
        warn(f"{done.without_embedding:,} of them have no embedding of {card.id}: not searched")
    for name, count in done.names_left_out.items():
        warn(f"nobody here is called '{name}': {plural(count, 'sighting')} without a name")
    if done.pictures_missing:
        warn(f"{plural(done.pictures_missing, 'picture')} below {file.parent} cannot be read")
    if done.damaged:
        lines = ", ".join(map(str, done.damaged[:5]))
        warn(f"{plural(len(done.damaged), 'line')} of {file} are no events, e.g. {lines}")
    raise typer.Exit(BAD_INPUT if done.damaged else 0)


@db_app.command(epilog=examples("facestream db upgrade --db house.db"))
def upgrade(db: Database = None, config: Config = None) -> None:
    """Bring a database of an older facestream to this version (opening it does so, too)."""
    from ..storage.database import REVISIONS
    from .console import say
    from .who import open_sightings

    sightings, _ = open_sightings(db, config)
    with sightings:
        say(f"{sightings.location} has the schema of this version ({REVISIONS[-1]})")


@db_app.command(
    epilog=examples(
        "facestream db retention --db house.db --config house.toml --dry-run",
        "The limits are the settings [storage.retention], by which runs with --db erase, too.",
    )
)
def retention(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")
    ] = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Erase the sightings and pictures that are older than the settings allow, or too many."""
    from ..core.errors import UsageError
    from ..sightings.retention import Retention
    from .console import plural, print_json, say
    from .who import open_sightings

    sightings, settings = open_sightings(db, config)
    with sightings:
        keeper = Retention(sightings, settings.storage.retention)
        if not keeper.limited:
            raise UsageError(
                "nothing is ever too old: set limits under [storage.retention] of --config, e.g. "
                'stranger = "30d"'
            )
        expired = keeper.expired()
        receipt = None if dry_run else keeper.enforce()
    if as_json:
        content = {"expired": {**expired.sightings, "pictures": expired.pictures}}
        print_json(content | {"receipt": None if receipt is None else receipt.to_dict()})
        return
    parts = [f"{verdict} {count:,}" for verdict, count in expired.sightings.items()]
    parts.append(f"{plural(expired.pictures, 'picture')} of others ({expired.bytes / 1e6:.1f} MB)")
    say(f"{'Would erase' if dry_run else 'Erased'}: {', '.join(parts)}")
