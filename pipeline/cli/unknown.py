"""``facestream unknown``: people without a name, as clusters of sightings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import Config, Database, Json, argument, command_group, examples

if TYPE_CHECKING:
    from ..sightings import Sightings
    from ..sightings.cluster_records import ClusterState, UnknownCluster
    from ..sightings.unknowns import Unknowns

unknown_app = command_group(
    "unknown",
    "People without a name: sightings that show one person, as clusters.",
    epilog=examples(
        "facestream unknown list --db house.db",
        "facestream unknown list --html strangers.html",
        "facestream unknown name 12 'Ada Lovelace'",
        "facestream undo",
    ),
)
Cluster = Annotated[int, argument("CLUSTER", "Its number in 'facestream unknown list'.")]
Page = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE.html", help="Write a page with the pictures, one file."),
]


@contextmanager
def _unknowns(db: str | None, config: Path | None) -> Iterator[tuple[Unknowns, Sightings]]:
    """The clusters of ``--db``, brought up to date."""
    from ..sightings.unknowns import Unknowns
    from .progress import show_count
    from .who import open_sightings

    sightings, settings = open_sightings(db, config)
    with sightings:
        unknowns = Unknowns(sightings, settings)
        with show_count("sightings", None) as progress:
            unknowns.update(progress=progress)
        yield unknowns, sightings


@unknown_app.command(
    "list",
    epilog=examples(
        "facestream unknown list --visits 2",
        "facestream unknown list --json",
        "A visit is a group of sightings without a pause of 30 minutes. 'Sure' is the probability "
        "that all sightings of a cluster show one person.",
    ),
)
def list_(
    visits: Annotated[
        int, typer.Option("--visits", min=1, metavar="N", help="Only who came so often.")
    ] = 1,
    ignored: Annotated[bool, typer.Option("--ignored", help="Those that are ignored.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")
    ] = 50,
    page: Page = None,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """List them, those who were seen most often first."""
    from .console import print_json, say, stdout

    with _unknowns(db, config) as (unknowns, sightings):
        state: ClusterState = "ignored" if ignored else "open"
        found = [
            one
            for one in unknowns.list(state=state, least=visits, limit=limit)
            if one.visits >= visits
        ]
        if page is not None:
            _write_page(page, "Unknown people", found, sightings)
    if as_json:
        print_json({"clusters": [one.to_dict() for one in found]})
        return
    if found:
        stdout().print(_table(found))
    say(_count(len(found)) if found else "nobody is unknown")
    if page is not None:
        say(f"Wrote {page}")


@unknown_app.command(epilog=examples("facestream unknown show 12 --html who.html"))
def show(
    cluster: Cluster,
    page: Page = None,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Show one of them with all sightings."""
    from .console import print_json, say, stdout
    from .pages import item, sighting_picture, write_page
    from .who import place_of, sightings_table, when_of

    with _unknowns(db, config) as (unknowns, sightings):
        found = unknowns.get(cluster)
        seen = [sightings.get(one) for one in found.sightings]
        if page is not None:
            items = (
                item([sighting_picture(sightings, one)], when_of(one), place_of(one), one.id[:8])
                for one in seen
            )
            write_page(page, f"Unknown person {cluster}", _line(found), items)
    if as_json:
        print_json({**found.to_dict(), "sightings": [one.to_dict() for one in seen]})
        return
    stdout().print(sightings_table(seen))
    say(_line(found))
    if (picture := found.to_dict()["picture"]) is not None:
        say(f"Picture: {picture}")
    if page is not None:
        say(f"Wrote {page}")


@unknown_app.command(
    epilog=examples(
        "facestream unknown name 12 'Ada Lovelace'",
        "All sightings of the cluster get the name, and those that resemble them. The clearest "
        "pictures become photos of the gallery if they resemble nobody else.",
    )
)
def name(
    cluster: Cluster,
    name: Annotated[str, argument("NAME", "A new person, or one of the gallery.")],
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Give somebody a name, also in the past."""
    from .console import print_json
    from .correct import say_named
    from .progress import show_count

    with _unknowns(db, config) as (unknowns, _), show_count("sightings", None) as progress:
        done = unknowns.name(cluster, name, progress=progress)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(done))
    else:
        say_named(done)


@unknown_app.command(epilog=examples("facestream unknown merge 12 15 19"))
def merge(
    keep: Cluster,
    others: Annotated[list[int], argument("OTHER...", "Clusters that show the same person.")],
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Make clusters one; the first keeps its number."""
    with _unknowns(db, config) as (unknowns, _):
        _say_changed(unknowns.merge(keep, *others), as_json=as_json)


@unknown_app.command(
    epilog=examples(
        "facestream unknown split 12   (in two, by resemblance)",
        "facestream unknown split 12 8dbf7d5a 91ab02ce",
    )
)
def split(
    cluster: Cluster,
    sightings: Annotated[
        list[str] | None, argument("SIGHTING...", "Take these out, not by resemblance.")
    ] = None,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Make one cluster two, which stay two."""
    with _unknowns(db, config) as (unknowns, _):
        _say_changed(unknowns.split(cluster, sightings or ()), as_json=as_json)


@unknown_app.command(epilog=examples("facestream unknown ignore 12"))
def ignore(
    cluster: Cluster,
    again: Annotated[bool, typer.Option("--off", help="List it again.")] = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """List somebody no more, also when they come again."""
    with _unknowns(db, config) as (unknowns, _):
        _say_changed(unknowns.ignore(cluster, ignored=not again), as_json=as_json)


def _say_changed(cluster: UnknownCluster, *, as_json: bool) -> None:
    from .console import print_json, say

    if as_json:
        print_json(cluster.to_dict())
    else:
        say(f"{_line(cluster)}; 'facestream undo' takes it back")


def _count(found: int) -> str:
    return "1 unknown person" if found == 1 else f"{found:,} unknown people"


def _line(one: UnknownCluster) -> str:
    from .console import plural
    from .who import local

    ignored = " (ignored)" if one.state == "ignored" else ""
    return (
        f"Cluster {one.id}{ignored}: {plural(one.size, 'sighting')} in "
        f"{plural(one.visits, 'visit')} on {plural(one.days, 'day')}, "
        f"{local(one.first_seen)} to {local(one.last_seen)}"
    )


def _table(found: Sequence[UnknownCluster]) -> object:
    from rich.text import Text

    from ..storage.names import printable
    from .console import table
    from .who import local

    right = ("No", "Visits", "Days", "Sightings", "Sure", "σ")
    shown = table("No", "Visits", "Days", "Sightings", "First seen", "Last seen", "Cameras",
                  "Sure", "σ", "Best", right=right)  # fmt: skip
    for one in found:
        shown.add_row(
            str(one.id),
            str(one.visits),
            str(one.days),
            str(one.size),
            local(one.first_seen)[:-3],  # the seconds are in ``unknown show``
            local(one.last_seen)[:-3],
            Text(", ".join(map(printable, one.cameras))),
            "–" if one.probability is None else f"{one.probability:.0%}",
            f"{one.uncertainty:.2f}",
            one.best.id[:8],
        )
    return shown


def _write_page(
    path: Path, title: str, found: Sequence[UnknownCluster], sightings: Sightings
) -> None:
    from ..storage.names import printable
    from .pages import item, sighting_picture, write_page

    items = (
        item(
            [sighting_picture(sightings, one.best)],
            f"No. {one.id}",
            ", ".join(map(printable, one.cameras)),
            _line(one),
        )
        for one in found
    )
    write_page(path, title, _count(len(found)), items)
