"""``facestream correct`` and ``facestream undo``."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import Config, Database, Json, argument, examples

CORRECT_EPILOG = examples(
    "facestream correct 8dbf7d5a --is 'Ada Lovelace'",
    "facestream correct 8dbf7d5a --is-not 'Ada Lovelace'",
    "facestream correct 8dbf7d5a --stranger",
    "What is said here stays: no machine decides on that sighting again. Faces that resemble "
    "one that is not somebody, more than that person, do not get the name any more.",
)
UNDO_EPILOG = examples("facestream undo --list", "facestream undo")


def correct(
    sighting: Annotated[str, argument("ID", "A sighting; the beginning of its id will do.")],
    is_: Annotated[
        str | None, typer.Option("--is", metavar="NAME", help="It is this person.")
    ] = None,
    is_not: Annotated[
        str | None, typer.Option("--is-not", metavar="NAME", help="It is not this person.")
    ] = None,
    stranger: Annotated[
        bool, typer.Option("--stranger", help="It is nobody who is enrolled.")
    ] = False,
    ignore: Annotated[
        bool, typer.Option("--ignore", help="List it no more, nor what resembles it.")
    ] = False,
    enrol: Annotated[
        bool,
        typer.Option("--enrol", help="With --is: make a clear picture a photo of the gallery."),
    ] = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Say who a sighting is, or is not."""
    from ..core.errors import UsageError
    from ..sightings.corrections import Correction
    from .correct import correct_sighting

    given: dict[Correction, bool] = {
        "is": is_ is not None,
        "is_not": is_not is not None,
        "stranger": stranger,
        "ignore": ignore,
    }
    chosen = [what for what, wanted in given.items() if wanted]
    if len(chosen) != 1:
        raise UsageError("give one of --is NAME, --is-not NAME, --stranger and --ignore")
    name = is_ if is_ is not None else is_not
    correct_sighting(sighting, chosen[0], name, enrol=enrol, as_json=as_json, db=db, config=config)


def undo(
    listed: Annotated[
        bool, typer.Option("--list", help="List the last operations instead.")
    ] = False,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Take the last naming, merging, splitting, ignoring or correction back."""
    from .correct import undo_operation

    undo_operation(listed=listed, as_json=as_json, db=db, config=config)
