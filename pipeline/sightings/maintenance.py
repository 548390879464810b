"""The database as a whole: whether it is sound, and agrees with its pictures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import select

from ..core.errors import OutputError
from ..storage.schema import MediaRow, SightingRow
from .forget import finish
from .store import Sightings

Problem = Literal["damaged", "picture_missing", "picture_changed", "picture_unknown"]


# A picture is written this long before its row at most, while the database cannot be written.
RUNNING_SECONDS = 3600.0


class PictureCount(Protocol):
    """Gets how many pictures are done, and how many there are."""

    def __call__(self, done: int, *, total: int) -> None: ...


def silent(done: int, *, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class DatabaseFinding:
    """Something that is not as it was written.

    Attributes:
        problem: ``damaged``: the file itself; ``picture_missing``; ``picture_changed``: not what
            was written; ``picture_unknown``: a file in the media folder that no row names.
        what: the picture's path within the media folder, or what the database says.
        sighting: the id of the picture's sighting.
    """

    problem: Problem
    what: str
    sighting: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def check_database(
    sightings: Sightings, *, progress: PictureCount = silent
) -> list[DatabaseFinding]:
    """Compare the database with its own rules and with the pictures on the disk.

    ``progress`` is called before each picture.

    Raises:
        GalleryError: it cannot be read at all.
    """
    found = [DatabaseFinding("damaged", one) for one in sightings.problems()]
    with sightings.reading() as connection:
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
    files = sightings.media.files()
    found += [
        DatabaseFinding("picture_unknown", path)
        for path in (one.relative_to(sightings.media.path).as_posix() for one in files)
        if path not in known
    ]
    return found


def mend(
    sightings: Sightings, found: Sequence[DatabaseFinding], *, older_than: float = RUNNING_SECONDS
) -> list[DatabaseFinding]:
    """Erase the files of the media folder that no row names, and finish interrupted erasures.

    Args:
        older_than: seconds; a run writes pictures before their rows.

    Returns:
        The findings that stay.

    Raises:
        OutputError: a file cannot be erased.
    """
    finish(sightings)
    oldest = time.time() - older_than
    stay = []
    for one in found:
        place = sightings.media.path / one.what
        if one.problem == "picture_unknown" and place.exists():
            if place.stat().st_mtime > oldest:
                stay.append(one)
            else:
                _erase(sightings, one.what)
        elif one.problem != "picture_unknown":
            stay.append(one)
    return stay


def _erase(sightings: Sightings, path: str) -> None:
    try:
        sightings.media.erase(path)
    except OSError as error:
        raise OutputError(
            f"cannot erase {sightings.media.path / path}: {error.strerror}"
        ) from error


def _compare(path: Path, sha256: str) -> Problem | None:
    try:
        data = path.read_bytes()
    except OSError:
        return "picture_missing"
    return None if hashlib.sha256(data).hexdigest() == sha256 else "picture_changed"
