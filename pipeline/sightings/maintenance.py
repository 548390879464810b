"""The database as a whole: whether it is sound, and copies of it with its pictures."""

from __future__ import annotations

import hashlib
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from facestream.engines.files import make_folder as make_private_folder
from facestream.engines.private_files import private
from sqlalchemy import select

from ..core.errors import GalleryError, OutputError, UsageError
from ..core.filenames import part_of
from ..storage.schema import MediaRow, SightingRow
from .media import FOLDER
from .store import Sightings

Problem = Literal["damaged", "picture_missing", "picture_changed", "picture_unknown"]
DATABASE = "facestream.db"
"""Name of the database within a backup."""


class PictureCount(Protocol):
    """Gets how many pictures are done, and how many there are."""

    def __call__(self, done: int, *, total: int) -> None: ...


def _silent(done: int, *, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """Something that is not as it was written.

    Attributes:
        problem: ``damaged``: the file itself; ``picture_missing``; ``picture_changed``: not what
            was written; ``picture_unknown``: a file in the media folder that no row names.
        what: the picture's path within the media folder, or what SQLite says.
        sighting: the id of the picture's sighting.
    """

    problem: Problem
    what: str
    sighting: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def check_database(
    sightings: Sightings, *, progress: PictureCount = _silent
) -> list[DatabaseFinding]:
    """Compare the database with its own rules and with the pictures on the disk.

    ``progress`` is called before each picture.

    Raises:
        GalleryError: it cannot be read at all.
    """
    with sightings.reading() as connection:
        verdicts = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        found = [DatabaseFinding("damaged", str(one)) for one in verdicts if one != "ok"]
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        found += [
            DatabaseFinding("damaged", f"a row of {row[0]} has no {row[2]}") for row in orphans
        ]
        query = select(MediaRow.path, MediaRow.sha256, SightingRow.uid)
        rows = connection.execute(
            query.join(SightingRow, SightingRow.id == MediaRow.sighting_id)
        ).all()
    for done, (path, sha256, uid) in enumerate(rows):
        progress(done, total=len(rows))
        problem = _compare(sightings.media.path / path, sha256)
        if problem is not None:
            found.append(DatabaseFinding(problem, path, uid))
    known = {path for path, _, _ in rows}
    found += [
        DatabaseFinding("picture_unknown", path)
        for path in sorted(_pictures(sightings.media.path))
        if path not in known
    ]
    return found


def back_up(sightings: Sightings, target: Path, *, progress: PictureCount = _silent) -> int:
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
            _copy_database(sightings.path, copy)
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


def restore(source: Path, database: Path) -> int:
    """Make a database of a backup; nothing that exists is replaced.

    Returns:
        How many pictures were restored.

    Raises:
        UsageError: it is no backup.
        OutputError: a database is there already, or it cannot be written.
    """
    if database.exists():
        raise OutputError(f"{database} exists; restore into a new file, or move it away first")
    try:
        with (
            tarfile.open(source) as tar,
            tempfile.TemporaryDirectory(dir=database.parent, prefix=".restore-") as folder,
        ):
            wanted = list(_members(tar, source))
            tar.extractall(folder, wanted, filter="data")
            place = Path(folder)
            with Sightings(place / DATABASE) as restored:
                damaged = [one for one in check_database(restored) if one.problem == "damaged"]
            if damaged:
                raise UsageError(f"the backup {source} is damaged: {damaged[0].what}")
            for member in wanted:
                if member.name != DATABASE:
                    target = database.parent / member.name
                    make_private_folder(target.parent)
                    (place / member.name).replace(target)
            (place / DATABASE).replace(database)
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
        picture = parts[:1] == (FOLDER,) and ".." not in parts and member.name.endswith(".jpg")
        if not member.isfile() or not (picture or member.name == DATABASE):
            raise UsageError(f"{source} is no backup of facestream: it has {member.name!r}")
        found |= member.name == DATABASE
        yield member
    if not found:
        raise UsageError(f"{source} is no backup of facestream: it has no {DATABASE}")


def _copy_database(source: Path, target: Path) -> None:
    target.touch(0o600)
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new, pages=1000)
    except sqlite3.Error as error:
        raise GalleryError(f"the database '{source}' cannot be copied: {error}") from error


def _compare(path: Path, sha256: str) -> Problem | None:
    try:
        data = path.read_bytes()
    except OSError:
        return "picture_missing"
    return None if hashlib.sha256(data).hexdigest() == sha256 else "picture_changed"


def _pictures(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.jpg"):
        if not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()
