"""Backups of the database with its pictures: one tar file, the same for all kinds of databases."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from facestream.engines.files import make_folder as make_private_folder
from facestream.engines.private_files import private
from sqlalchemy import select

from ..core.errors import GalleryError, OutputError, UsageError
from ..core.filenames import part_of
from ..core.location import DatabaseUrl, Location
from ..storage.copying import copy_rows, is_empty
from ..storage.schema import MediaRow
from .maintenance import PictureCount, check_database, silent
from .media import FOLDER, plain_path
from .store import Sightings

DATABASE = "facestream.db"
"""Name of the database within a backup, an SQLite file."""


def back_up(sightings: Sightings, target: Path, *, progress: PictureCount = silent) -> int:
    """Write the database and its pictures into one tar file, while others may write to it.

    The database is copied first, as it is at one moment. Pictures that are erased meanwhile are
    left out. The file is there whole or not at all.

    Returns:
        How many pictures there are in it.

    Raises:
        OutputError: it exists already, or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target} exists; give the name of a new file")
    part = part_of(target)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
            copy = Path(folder) / DATABASE
            _copy_database(sightings, copy)
            with Sightings(copy) as copied, copied.reading() as connection:
                paths = list(connection.scalars(select(MediaRow.path)))
            with (
                open(part, "xb", opener=private) as file,
                tarfile.open(fileobj=file, mode="w") as tar,
            ):
                tar.add(copy, DATABASE)
                count = 0
                for done, path in enumerate(paths):
                    progress(done, total=len(paths))
                    place = sightings.media.path / path
                    if place.is_file():
                        tar.add(place, f"{FOLDER}/{path}")
                        count += 1
        part.rename(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def restore(source: Path, database: Location, *, media: Path | None = None) -> int:
    """Make a database of a backup; nothing that exists is replaced.

    Args:
        database: a file that does not exist, or the URL of an empty database.
        media: see ``Sightings``.

    Returns:
        How many pictures were restored.

    Raises:
        UsageError: it is no backup.
        OutputError: a database is there already, or it cannot be written.
    """
    if isinstance(database, Path):
        database = database.absolute()
        if database.exists():
            raise OutputError(f"{database} exists; restore into a new file, or move it away first")
        if not database.parent.is_dir():
            raise OutputError(f"there is no folder {database.parent}; make it first")
    try:
        with (
            tarfile.open(source) as tar,
            tempfile.TemporaryDirectory(dir=_beside(database, media), prefix=".restore-") as folder,
        ):
            wanted = list(_members(tar, source))
            tar.extractall(folder, wanted, filter="data")
            place = Path(folder)
            with Sightings(place / DATABASE) as restored:
                damaged = [one for one in check_database(restored) if one.problem == "damaged"]
            if damaged:
                raise UsageError(f"the backup {source} is damaged: {damaged[0].what}")
            if isinstance(database, DatabaseUrl):
                pictures = _fill(database, place / DATABASE, media)
            else:
                pictures = media or database.parent / FOLDER
            for member in wanted:
                if member.name != DATABASE:
                    target = pictures / PurePosixPath(member.name).relative_to(FOLDER)
                    make_private_folder(target.parent)
                    (place / member.name).replace(target)
            if isinstance(database, Path):
                (place / DATABASE).replace(database)
    except tarfile.ReadError as error:
        raise UsageError(f"{source} is no backup of facestream: it is no tar file") from error
    except tarfile.TarError as error:
        raise UsageError(f"{source} is no backup of facestream: {error}") from error
    except OSError as error:
        raise OutputError(f"cannot restore {source}: {error}") from error
    return len(wanted) - 1


def _members(tar: tarfile.TarFile, source: Path) -> Iterator[tarfile.TarInfo]:
    """The database and the pictures; whatever else is there is no backup's."""
    found = False
    for member in tar:
        parts = PurePosixPath(member.name).parts
        picture = (
            parts[:1] == (FOLDER,)
            and ".." not in parts
            and plain_path(member.name).endswith(".jpg")
        )
        if not member.isfile() or not (picture or member.name == DATABASE):
            raise UsageError(f"{source} is no backup of facestream: it has {member.name!r}")
        found |= member.name == DATABASE
        yield member
    if not found:
        raise UsageError(f"{source} is no backup of facestream: it has no {DATABASE}")


def _beside(database: Location, media: Path | None) -> Path | None:
    """A folder on the disk where the pictures will be, so that they are moved and not copied."""
    if isinstance(database, Path):
        return database.parent
    if media is not None:
        make_private_folder(media)
    return media


def _fill(database: DatabaseUrl, copy: Path, media: Path | None) -> Path:
    """Write the rows into an empty database; returns where its pictures belong."""
    with (
        Sightings(database, create="if_missing", media=media) as made,
        Sightings(copy) as restored,
        restored.reading() as source,
        made.writing() as target,
    ):
        if not is_empty(target):
            raise OutputError(f"{database} is not empty; restore into a new database")
        copy_rows(source, target, origin=copy, destination=database)
        return made.media.path


def _copy_database(sightings: Sightings, target: Path) -> None:
    if isinstance(sightings.location, DatabaseUrl):
        with (
            Sightings(target, create="if_missing") as copy,
            sightings.reading() as source,
            copy.writing() as written,
        ):
            copy_rows(source, written, origin=sightings.location, destination=target)
        return
    source_file = sightings.path
    target.touch(0o600)
    try:
        with (
            closing(sqlite3.connect(f"{source_file.as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new, pages=1000)
    except sqlite3.Error as error:
        raise GalleryError(f"the database '{source_file}' cannot be copied: {error}") from error
