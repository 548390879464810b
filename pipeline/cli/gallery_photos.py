"""``facestream gallery``: set-aside, restore and date. Adds its commands to ``gallery_app``."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import plural, say
from .flags import Config, argument, examples
from .gallery import GalleryPath, opened
from .gallery_edit import gallery_app
from .photo_flags import Taken, ValidFrom, ValidUntil, photo_dates

__all__ = ["gallery_app"]

Photos = Annotated[
    list[str],
    argument("PHOTO...", "Numbers that 'facestream gallery show' prints, paths or file names."),
]


@gallery_app.command(
    "set-aside",
    epilog=examples(
        "facestream gallery set-aside 17",
        "facestream gallery set-aside ada3.jpg --reason 'eyes closed'",
        "The photo stays in the gallery, but no face is compared with it. 'facestream gallery "
        "restore' takes it back.",
    ),
)
def set_aside(
    photos: Photos,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the photo.")
    ] = "",
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Keep photos out of recognition without removing them."""
    from ..storage.names import printable

    with opened(gallery, config) as people:
        ids = [people.photo_id(wanted) for wanted in photos]
        changed = people.set_aside(ids, reason=reason[:200])
        owners = people.owner_names(ids)
        alone = [
            name
            for name in sorted(set(owners.values()))
            if (person := people.person(name)).aside == person.photos
        ]
    say(f"Set aside {plural(len(changed), 'photo')}{_others(ids, changed, 'before')}.")
    for name in alone:
        say(f"'{printable(name)}' is no longer recognised: all photos are set aside.")


@gallery_app.command(epilog=examples("facestream gallery restore 17"))
def restore(photos: Photos, gallery: GalleryPath = None, config: Config = None) -> None:
    """Let photos that were set aside take part in recognition again."""
    with opened(gallery, config) as people:
        ids = [people.photo_id(wanted) for wanted in photos]
        changed = people.restore_photos(ids)
    say(f"Restored {plural(len(changed), 'photo')}{_others(ids, changed, 'never')}.")


@gallery_app.command(
    epilog=examples(
        "facestream gallery date 17 --taken 2019-06-01",
        "facestream gallery date 17 18 --valid-from 2019-06-01 --valid-until 2022-06-01",
        "facestream gallery date 17 --valid-until none",
    )
)
def date(
    photos: Photos,
    taken: Taken = None,
    valid_from: ValidFrom = None,
    valid_until: ValidUntil = None,
    gallery: GalleryPath = None,
    config: Config = None,
) -> None:
    """Say when photos were taken, and from and until when they hold."""
    from dataclasses import replace

    from ..core.errors import UsageError
    from ..gallery.records import NO_NOTES

    given = {"taken_at": taken, "valid_from": valid_from, "valid_until": valid_until}
    if not any(given.values()):
        raise UsageError("give --taken, --valid-from or --valid-until")
    dates = photo_dates(taken, valid_from, valid_until)
    changed = {name: getattr(dates, name) for name, text in given.items() if text is not None}
    with opened(gallery, config) as people:
        for photo in [people.photo_id(wanted) for wanted in photos]:
            before = people.photo_notes(photo) or NO_NOTES
            people.date_photo(photo, replace(before, **changed))
    say(f"Dated {plural(len(photos), 'photo')}.")


def _others(ids: list[int], changed: list[int], when: str) -> str:
    """How many were set aside at that time."""
    count = len(set(ids)) - len(changed)
    return f" ({count} set aside {when})" if count else ""
