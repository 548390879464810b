"""``facestream db key``: encryption of the database at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .flags import Config, Database, Json, argument, command_group, examples

key_app = command_group(
    "key",
    "Encryption at rest: embeddings and pictures are encrypted by a key that you keep.",
    epilog=examples(
        "facestream db key new house.key",
        "export FACESTREAM_KEY=$(cat house.key)   (or storage.key_file in the settings)",
        "facestream db key enable --db house.db",
        "Whoever loses the key loses embeddings and pictures, also those of backups.",
    ),
)


@key_app.command(epilog=examples("facestream db key new house.key"))
def new(file: Annotated[Path, argument("FILE", "The file to write; it must not exist.")]) -> None:
    """Make a key: 32 random bytes in base64, in a file that only you may read."""
    from ..core.user_key import write_new_key
    from ..storage.vault import fingerprint
    from .console import say

    say(f"Wrote {file}: a key with the fingerprint {fingerprint(write_new_key(file))}")


@key_app.command(epilog=examples("facestream db key status --db house.db --json"))
def status(as_json: Json = False, db: Database = None, config: Config = None) -> None:
    """Say whether the database is encrypted, and by which key; the key is not needed."""
    from ..sightings.encryption import Encryption
    from ..storage.vault import without_key
    from .console import print_json, say
    from .who import open_sightings

    with without_key():
        sightings, _ = open_sightings(db, config)
        with sightings:
            found = Encryption(sightings).status()
    if as_json:
        print_json(found.to_dict())
        return
    if found.state == "off":
        say("not encrypted")
        return
    say(f"encryption: {found.state}, by the key with the fingerprint {found.user_key}")
    given = {None: "no key is given", found.user_key: "the given key is the right one"}
    say(given.get(found.given_key, f"the given key is another one: {found.given_key}"))
    for one in found.data_keys:
        say(f"data key {one.id}: {one.state}, of {one.created_at:%Y-%m-%d}")
    if found.to_do:
        say(f"{found.to_do:,} rows and pictures are still to be done: run the command again")


@key_app.command(epilog=examples("facestream db key enable --db house.db"))
def enable(db: Database = None, config: Config = None) -> None:
    """Encrypt embeddings and pictures; runs may go on meanwhile, if they have the key."""
    _change("enable", db, config)


@key_app.command(
    epilog=examples(
        "facestream db key rotate --new next.key --db house.db   (another key of yours)",
        "facestream db key rotate --full --db house.db   (encrypt all anew)",
    )
)
def rotate(
    new: Annotated[
        Path | None,
        typer.Option("--new", metavar="FILE", help="The key that opens the database from now on."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Encrypt everything anew, not only the data keys.")
    ] = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Change the key; after a crash the same command goes on."""
    from ..core.errors import UsageError
    from ..core.user_key import read_key
    from ..sightings.encryption import Encryption
    from ..storage.vault import fingerprint
    from .console import say
    from .who import open_sightings

    if new is None and not full:
        raise UsageError("say what changes: --new FILE, --full, or both")
    key = None if new is None else read_key(new)
    if full:
        _change("rotate", db, config)
    if key is not None:
        sightings, _ = open_sightings(db, config)
        with sightings:
            Encryption(sightings).change_user_key(key)
        say(f"The database opens by the key of {new} now (fingerprint {fingerprint(key)})")


@key_app.command(epilog=examples("facestream db key disable --db house.db"))
def disable(db: Database = None, config: Config = None) -> None:
    """Decrypt everything."""
    _change("disable", db, config)


def _change(what: str, db: str | None, config: Path | None) -> None:
    from ..sightings.encryption import Encryption
    from .console import say
    from .progress import show_count
    from .who import open_sightings

    sightings, _ = open_sightings(db, config)
    with sightings, show_count("rows and pictures", None) as progress:
        encryption = Encryption(sightings)
        change = {
            "enable": encryption.enable,
            "rotate": encryption.rotate,
            "disable": encryption.disable,
        }[what]
        count = change(progress=progress)
    verb = "Decrypted" if what == "disable" else "Encrypted"
    say(f"{verb} {count:,} rows and pictures of {sightings.location}")
