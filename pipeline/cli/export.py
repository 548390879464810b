"""``facestream export``, ``digest`` and ``mcp``: what was seen, for other programs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Literal

import typer

from .flags import Cameras, Config, Database, Since, Until, argument, examples

What = Literal["sightings", "presence"]
Format = Literal["csv", "parquet", "ical"]

EXPORT_EPILOG = examples(
    "facestream export sightings --format csv --since 7d --out week.csv --db house.db",
    "facestream export presence --format ical --out presence.ics --db house.db",
    "Presence: from when to when each person with a name was there; absences under 15 minutes do "
    "not count. Parquet needs facestream\\[parquet], calendars facestream\\[ical].",
)
DIGEST_EPILOG = examples(
    "facestream digest --day yesterday --html yesterday.html --db house.db",
    "facestream digest --eml today.eml --to ada@example.org   (then: sendmail -t < today.eml)",
)
MCP_EPILOG = examples(
    "facestream mcp --db house.db --photos ~/Pictures",
    "For an assistant that starts it, with the tools who, search, why and cameras: docs/mcp.md.",
)


def export(
    what: Annotated[What, argument("WHAT", "sightings, or presence of people.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")],
    kind: Annotated[Format, typer.Option("--format", help="ical is for presence only.")] = "csv",
    camera: Cameras = None,
    since: Since = None,
    until: Until = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="Of this person; repeatable.")
    ] = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Write sightings, or when people were there, for spreadsheets, notebooks and calendars."""
    from ..exports.files import export as write_export
    from ..sinks.files import write_whole
    from .console import plural, say
    from .who import open_sightings, wanted_by

    wanted = wanted_by(camera, since, until, name)
    sightings, _ = open_sightings(db, config)
    written = io.BytesIO()
    with sightings:
        count = write_export(sightings, what, kind, wanted, written)
    write_whole(out, written.getvalue())
    say(f"Wrote {out}: {plural(count, 'row')}")


def digest(
    day: Annotated[
        str, typer.Option("--day", metavar="DAY", help="E.g. yesterday, today, 2026-11-30.")
    ] = "yesterday",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE.html", help="Write a page, one file.")
    ] = None,
    eml: Annotated[
        Path | None, typer.Option("--eml", metavar="FILE.eml", help="Write a mail.")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="Of the mail.")] = "",
    camera: Cameras = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Write who was seen on a day, with pictures."""
    from ..core.errors import UsageError
    from ..exports.digest import digest_mail, digest_of, digest_page
    from ..sinks.files import write_whole
    from .console import say
    from .who import moment, open_sightings

    if html is None and eml is None:
        raise UsageError("give --html FILE, --eml FILE, or both")
    if any(char in to for char in "\r\n"):
        raise UsageError("--to: an address is one line")
    at = moment("--day", day)
    sightings, _ = open_sightings(db, config)
    with sightings:
        sources = None if camera is None else tuple(camera)
        found = digest_of(sightings, at.astimezone().date(), sources=sources)  # type: ignore[union-attr]
        if html is not None:
            write_whole(html, digest_page(found, sightings))
        if eml is not None:
            write_whole(eml, digest_mail(found, sightings, to=to))
    say(found.headline)


def mcp(
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos", metavar="FOLDER", help="Photos in here may be searched; repeatable."
        ),
    ] = None,
    db: Database = None,
    config: Config = None,
) -> None:
    """Answer an assistant (Model Context Protocol) over standard input and output; read only."""
    from .mcp import AssistantTools, assistant_server, need_mcp
    from .who import open_sightings

    need_mcp()
    sightings, settings = open_sightings(db, config)
    with sightings, AssistantTools(sightings, settings, photos or []) as tools:
        assistant_server(tools).run()
