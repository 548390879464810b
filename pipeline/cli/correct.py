"""``facestream correct`` and ``facestream undo``: what a human says of sightings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ..core.errors import UsageError
from ..sightings.corrections import Correction, Corrections, Operation
from ..storage.names import printable
from .console import plural, print_json, say, stdout, table, warn
from .who import local, open_sightings

if TYPE_CHECKING:
    from ..sightings.naming import NameGiven


def correct_sighting(
    uid: str,
    what: Correction,
    name: str | None,
    *,
    enrol: bool,
    as_json: bool,
    db: str | None,
    config: Path | None,
) -> None:
    """Correct one sighting and print what it is now.

    Raises:
        UsageError: there is no such sighting, or ``enrol`` is given without a name.
    """
    if enrol and what != "is":
        raise UsageError("--enrol needs --is NAME")
    sightings, settings = open_sightings(db, config)
    with sightings:
        named = Corrections(sightings, settings).correct(uid, what, name or "", enrol=enrol)
        if named is not None and enrol and not as_json:
            say_named(named)
        one = sightings.get(uid)
    if as_json:
        print_json({"sighting": one.to_dict()})
    else:
        ignored = ", ignored" if one.ignored else ""
        say(f"Sighting {one.id[:8]} is {printable(one.name)} ({one.verdict}{ignored}) now.")


def say_named(done: NameGiven) -> None:
    """Print what a name was given to."""
    shown = f"'{printable(done.name)}'"
    more = f", and {done.resembling:,} more that resemble them" if done.resembling else ""
    say(
        f"Named {plural(done.sightings, 'sighting')} {shown}{more}; "
        f"the gallery has {plural(done.photos, 'new photo')}. 'facestream undo' takes that back."
    )
    if done.new and not done.photos:
        warn(
            f"no picture of {shown} is clear enough to recognise them by; add photos with "
            "'facestream gallery add'"
        )


def undo_operation(*, listed: bool, as_json: bool, db: str | None, config: Path | None) -> None:
    """Undo the last operation, or list the last ones.

    Raises:
        UsageError: there is nothing to undo.
    """
    sightings, settings = open_sightings(db, config)
    with sightings:
        corrections = Corrections(sightings, settings)
        found = corrections.operations() if listed else [corrections.undo()]
    if as_json:
        key, content = ("operations", [one.to_dict() for one in found])
        print_json({key: content} if listed else {"undone": content[0]})
    elif listed:
        _print(found)
    else:
        say(f"Undone: {_words(found[0])}")


def _words(one: Operation) -> str:
    return f"{printable(one.summary)} ({one.who}, {local(one.at)})"


def _print(found: list[Operation]) -> None:
    if not found:
        say("nothing was changed yet")
        return
    shown = table("No", "When", "Who", "What", "", right=("No",))
    for one in found:
        undone = "undone" if one.undone else ""
        shown.add_row(
            str(one.id),
            local(one.at),
            Text(printable(one.who)),
            Text(printable(one.summary)),
            undone,
        )
    stdout().print(shown)
