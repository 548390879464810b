"""The gallery's files on the disk: whose they are, who may read them, and what is left in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from facestream.engines.files import erase, warn_of_shared
from facestream.engines.private_files import (
    OTHERS_WRITE,
    FileRefused,
    followed,
    mode_of,
    tighten,
    user_name,
    warn_once,
)

from ..core.errors import GalleryError
from ..storage.names import printable

# SQLite's own, at the start of each of its files.
HEADER = b"SQLite format 3\0"
# What SQLite keeps beside a database, and reads back into it after a crash.
_BESIDE = ("-journal", "-wal", "-shm")


def check_files(path: Path) -> None:
    """Refuse a gallery that other users may change, and make one's own private.

    Raises:
        GalleryError: others own it and may write it, one of them made a link to it, or SQLite
            would apply a file of theirs.
    """
    shown = printable(str(path))
    try:
        place = Path(followed(path))
        tighten(place)
        facts = place.lstat()
        warn_of_shared(place.parent)
    except FileRefused as error:
        raise GalleryError(f"the gallery '{shown}' is not used: {error.strerror}") from error
    owner, me = facts.st_uid, os.geteuid()
    if owner != me and facts.st_mode & OTHERS_WRITE:
        raise GalleryError(
            f"the gallery '{shown}' is not used: it belongs to {user_name(owner)}, and others may "
            f"write it (mode {mode_of(facts)}); use a copy of your own, or have an administrator "
            "run chown and chmod 600 on it"
        )
    if owner not in (me, 0):
        warn_once(path, f"the gallery belongs to {user_name(owner)}, who can read and change it")
    if facts.st_nlink > 1:
        warn_once(path, "the gallery has several names (hard links): a crash can damage it")
    for suffix in _BESIDE:
        _check_beside(place.with_name(place.name + suffix), {owner, me, 0})


def _check_beside(path: Path, owners: set[int]) -> None:
    try:
        tighten(path)
        facts = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISREG(facts.st_mode) and facts.st_uid in owners and facts.st_nlink == 1:
        if not facts.st_mode & OTHERS_WRITE:
            return
        why = f"others may write it (mode {mode_of(facts)})"
    else:
        why = f"it is a link, no file, or of {user_name(facts.st_uid)}"
    raise GalleryError(
        f"'{printable(str(path))}' beside the gallery would be applied to it, but {why}; look at "
        "who put it there, and remove it"
    )


def journal_of(path: Path) -> Path:
    """Where SQLite keeps the rollback journal: beside the file, not beside a link to it."""
    return Path(os.path.realpath(path) + "-journal")


def delete_copies(path: Path) -> None:
    """Overwrite and delete the copies of embeddings that older versions wrote next to the gallery.

    Called before the upgrade is committed: when interrupted, the next opening repeats it. What is
    a link or another user's is no such copy: it is left alone.

    Raises:
        GalleryError: one cannot be deleted.
    """
    copy = path.name + ".templates"
    names = (copy, f"{copy}.hnsw", f"{copy}.ivfpq")
    # Not glob: the gallery's name may have brackets.
    for place in path.parent.iterdir():
        unfinished = place.name.startswith(f"{copy}.") and place.name.endswith(".part")
        if not (place.name in names or unfinished):
            continue
        try:
            erase(place, unless=HEADER)  # a gallery may have any name
        except FileRefused as error:
            warn_once(place, f"not erased with the copies of embeddings: {error.strerror}")
        except IsADirectoryError:
            continue
        except OSError as error:
            raise GalleryError(
                f"'{printable(str(place))}' holds copies of the gallery's embeddings and cannot "
                f"be overwritten ({error.strerror}); change its permissions or delete it"
            ) from error
