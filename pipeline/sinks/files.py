"""What the sinks that write files share."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Container
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

import cv2
from facestream.engines.files import make_folder as make_private_folder
from facestream.engines.files import warn_of_shared
from facestream.engines.private_files import followed, named, private

from ..core.errors import OutputError
from ..core.filenames import part_of, with_parts
from ..core.types import Image

log = logging.getLogger(__name__)

ROOM_BYTES = 1 << 15
"""What a folder must have room for before an output that failed works again."""
_STAMP = r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)(?:-([1-9]\d*))?"


class OutputNames:
    """Names for the files of one run, each used once.

    Args:
        earlier: ``replace``: a file of an earlier run may be replaced; ``keep``: what exists
            already keeps its name.
        avoid: resolved paths that are never given out, as those of the run's sources.
    """

    def __init__(
        self, earlier: Literal["replace", "keep"], *, avoid: Collection[Path] = ()
    ) -> None:
        self._earlier = earlier
        self._avoid = frozenset(avoid)
        self._used: set[Path] = set()

    def unused(self, path: Path) -> Path:
        """The path, or with the first number from 2 on that makes it another one."""
        numbered = (path.with_stem(f"{path.stem}-{n}") for n in count(2))
        found = next(one for one in chain([path], numbered) if self._free(one))
        if self._earlier == "replace":
            self._used.add(found)  # a camera's run of months need not remember: its files exist
        return found

    def _free(self, path: Path) -> bool:
        if self._earlier == "keep":
            return not path.exists()
        return path not in self._used and path.resolve() not in self._avoid


def check_writable(path: Path) -> None:
    """Make sure that a file can be written, without changing what it holds.

    Raises OutputError if its folder is missing, it is a folder, or it may not be written.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    existed = path.exists()
    try:
        with open(path, "ab", opener=named):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def make_folder(path: Path) -> Path:
    """Create a private folder for outputs, with its parents, and make sure that it can be written.

    Raises OutputError if it cannot be created, is a file, or may not be written.
    """
    try:
        make_private_folder(path)
    except FileExistsError as error:
        raise OutputError(f"cannot use {path} as a folder: a file of that name exists") from error
    except OSError as error:
        raise OutputError(f"cannot create the folder {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into the folder {path}: permission denied")
    warn_of_shared(path)
    return path


def write_jpeg(path: Path, image: Image) -> None:
    """Write a picture, H×W×3 BGR uint8; the file is there whole or not at all.

    Raises OutputError if it cannot be written.
    """
    coded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not coded:
        raise OutputError(f"cannot encode {path}")
    write_whole(path, data.tobytes())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file; it is there whole or not at all, and until then an earlier one stays.

    What is no regular file, e.g. ``/dev/stdout``, is written as it is.

    Raises OutputError if it cannot be written.
    """
    part: Path | None = None
    try:
        place = Path(followed(path))  # a link of the user stays one
        if place.is_file() or not place.exists():
            part = part_of(place)
            with open(part, "wb", opener=private) as file:
                file.write(data)
            part.replace(place)
        else:
            with open(place, "wb", opener=named) as file:
                file.write(data)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def check_room(folder: Path) -> None:
    """Raise OutputError unless a file of `ROOM_BYTES` can be written into a folder."""
    try:
        with TemporaryFile(dir=folder) as probe:  # without a name, so nothing can be left of it
            probe.write(bytes(ROOM_BYTES))
            probe.flush()
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def unused(name: str, taken: Container[str]) -> str:
    """The name, or with the first number from 2 on that makes it another than those taken."""
    if name not in taken:
        return name
    return next(other for n in count(2) if (other := f"{name}-{n}") not in taken)


def utc_stamp(seconds: float) -> str:
    """A time (since the epoch) for a file name, in whole seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H-%M-%S")


def stamped_files(path: Path, *parts: str) -> list[tuple[str, int, Path]]:
    """Time, number and path of the ``<stem>-<part>-<utc_stamp>[-<number>]<suffix>`` that exist,
    oldest first.

    Raises:
        OSError: the folder cannot be listed.
    """
    any_time = utc_stamp(0)
    start = with_parts(path, *parts, any_time).stem.removesuffix(any_time)
    pattern = re.compile(re.escape(start) + _STAMP + re.escape(path.suffix), re.ASCII)
    matches = ((pattern.fullmatch(one.name), one) for one in path.parent.iterdir())
    return sorted((match[1], int(match[2] or 1), one) for match, one in matches if match)


def remove(path: Path) -> None:
    """Delete a file; where that is not possible a warning says why."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot delete %s: %s", path, error.strerror)
