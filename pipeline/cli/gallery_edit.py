"""``facestream gallery``: check, merge, remove and rename. Adds its commands to ``gallery_app``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import confirmed, plural, print_json, say
from .errors import BAD_INPUT
from .flags import Config, Json, Yes, argument, examples
from .gallery import GalleryPath, Name, gallery_app, opened, settings_of

__all__ = ["gallery_app"]


@gallery_app.command(
    epilog=examples(
        "facestream gallery check",
        "facestream gallery check --json -g friends.db",
        "Two people may be one when most photos of each are so similar to one of the other that a "
        "search would give the other's name. A photo is doubtful when it resembles another person "
        "more than its own, none of the other photos of its person, or shows too little of the "
        "face (sigma 1 or more). In a large gallery some strangers are alike enough to be listed.",
        "With --json and --html there are hints, too: people who resemble each other, pictures "
        "that are there twice, people with a single photo or with photos that are all alike.",
        "Exit status: 0 no problem was found, 3 some were.",
    )
)
def check(
    gallery: GalleryPath = None,
    as_json: Json = False,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one HTML file with the faces in it."),
    ] = None,
    config: Config = None,
) -> None:
    """Find people who are there under two names, and photos that are of somebody else."""
    from .findings import check_with, finding_dict, finding_lines, hint_lines, write_findings

    with opened(gallery, config) as people:
        found = check_with(people, settings_of(config))
        if page is not None:
            write_findings(page, found, people, gallery)
        findings = [finding_dict(one, people, gallery) for one in found.findings if as_json]
    if as_json:
        print_json({"gallery": str(people.location), **found.to_dict(), "findings": findings})
    else:
        for line in finding_lines(found, gallery):
            say(line)
        if hints := hint_lines(found):
            say(f"Hints ('--html FILE' shows them): {', '.join(hints)}.")
        pairs, doubtful = len(found.same), plural(len(found.doubtful), "doubtful photo")
        say(
            f"Checked {plural(found.photos, 'photo')}, number of people {found.people:,}: "
            f"{plural(pairs, 'pair')} that may be one person, {doubtful}."
        )
    raise typer.Exit(BAD_INPUT if found.same or found.doubtful else 0)


@gallery_app.command(epilog=examples("facestream gallery merge 'Ada Lovelace' ada"))
def merge(
    keep: Annotated[str, argument("NAME", "The person who stays.")],
    other: Annotated[str, argument("OTHER", "The same person under another name.")],
    gallery: GalleryPath = None,
    yes: Yes = False,
    config: Config = None,
) -> None:
    """Make two people one: OTHER's photos go to NAME, and OTHER is remembered as a former name."""
    from ..storage.names import printable

    with opened(gallery, config) as people:
        first, second = people.person(keep), people.person(other)
        names = f"'{printable(second.name)}' into '{printable(first.name)}'"
        photos = plural(second.photos, "photo")
        if not yes and not confirmed(f"Merge {names} ({photos})?", doing=f"merging {names}"):
            say("Nobody was merged.")
            return
        after = people.merge(keep, other)
    say(f"Merged {names}, who has {plural(after.photos, 'photo')} now.")


@gallery_app.command(
    epilog=examples(
        "facestream gallery split Ada Grace --photo ada3.jpg --photo 17",
        "Past sightings that no human decided on are decided again.",
    )
)
def split(
    name: Name,
    new: Annotated[str, argument("NEW", "The name of the other person.")],
    photo: Annotated[
        list[str],
        typer.Option(
            "--photo",
            metavar="PHOTO",
            help="A photo that is NEW's: its path, file name or number. Repeatable.",
        ),
    ],
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Make one person two: some photos of NAME are of NEW."""
    from ..gallery.records import select_photo
    from ..sightings import Sightings
    from ..sightings.people import split_person
    from ..storage.names import printable

    with opened(gallery, config) as people:
        photos = people.photos(name)
        chosen = [select_photo(photos, wanted, name=name).id for wanted in photo]
        path = people.location
    with Sightings(path) as sightings:
        done = split_person(sightings, settings_of(config), name, chosen, new)
    say(
        f"'{printable(done.name)}' has {plural(len(set(chosen)), 'photo')} of "
        f"'{printable(name)}'; {plural(done.sightings, 'past sighting')} changed."
    )


@gallery_app.command(
    epilog=examples(
        "facestream gallery remove 'Ada Lovelace'",
        "facestream gallery remove Ada --yes   (in scripts)",
        "facestream gallery remove Ada --photo ada3.jpg",
        "facestream gallery remove Ada --learned   (what 'add --from-sighting' took)",
        "facestream gallery remove Ada --photo 17   (the number in 'facestream gallery show Ada')",
    )
)
def remove(
    name: Name,
    photo: Annotated[
        list[str] | None,
        typer.Option(
            "--photo",
            metavar="PHOTO",
            help="Only this photo: its path, file name or number. May be given several times.",
        ),
    ] = None,
    learned: Annotated[
        bool, typer.Option("--learned", help="Only the photos that were learned from sightings.")
    ] = False,
    gallery: GalleryPath = None,
    yes: Yes = False,
    config: Config = None,
) -> None:
    """Remove a person with all photos and embeddings, or only some of the photos."""
    from ..core.errors import UsageError
    from ..gallery.records import select_photo
    from ..storage.names import printable

    with opened(gallery, config) as people:
        person, photos = people.person(name), people.photos(name)
        shown = f"'{printable(person.name)}'"
        chosen = {select_photo(photos, wanted, name=person.name).id for wanted in photo or ()}
        if learned:
            chosen |= {one.id for one in photos if one.notes.origin is not None}
            if not chosen:
                raise UsageError(f"{shown} has no photo that was learned from a sighting")
        what = f"{shown} with {plural(person.photos, 'photo')}"
        if chosen:
            what = f"{plural(len(chosen), 'photo')} of {shown}"
        if not yes and not confirmed(f"Remove {what}?", doing=f"removing {what}"):
            say("Nothing was removed." if chosen else "Nobody was removed.")
            return
        if chosen:
            people.remove_photos(name, sorted(chosen))
        else:
            people.remove(name)
    say(f"Removed {what}.")


@gallery_app.command(epilog=examples("facestream gallery rename ada 'Ada Lovelace'"))
def rename(
    old: Annotated[str, argument("OLD", "The person.")],
    new: Annotated[str, argument("NEW", "The new name.")],
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Give a person another name."""
    from ..storage.names import printable

    with opened(gallery, config) as people:
        before = people.person(old)
        after = people.rename(old, new)
    say(f"'{printable(before.name)}' is now '{printable(after.name)}'.")
