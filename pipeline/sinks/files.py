"""What the file sinks share: checking a path before the run, and names made from sources."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Container
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from ..core.errors import OutputError

log = logging.getLogger(__name__)


def check_writable(path: Path) -> None:
    """Make sure that a file can be written, without changing what it holds.

    Raises:
        OutputError: its folder is missing, it is a folder, or it may not be written.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def make_folder(path: Path) -> Path:
    """Create a folder for outputs, with its parents, and make sure that it can be written.

    Raises:
        OutputError: it cannot be created, is a file, or may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"cannot use {path} as a folder: a file of that name exists") from error
    except OSError as error:
        raise OutputError(f"cannot create the folder {path}: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into the folder {path}: permission denied")
    return path


def slug(text: str, *, longest: int = 60) -> str:
    """A name that is safe in a file name: letters, digits, ``.``, ``_`` and ``-``."""
    words = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    return words[:longest].rstrip("-.") or "unnamed"


def unused(name: str, taken: Container[str]) -> str:
    """The name, or with the first number from 2 on that makes it another than those taken."""
    if name not in taken:
        return name
    return next(other for n in count(2) if (other := f"{name}-{n}") not in taken)


def utc_stamp(seconds: float) -> str:
    """A time (since the epoch) for a file name, in whole seconds of UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H-%M-%S")


def remove(path: Path) -> None:
    """Delete a file; where that is not possible a warning says why."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot delete %s: %s", path, error.strerror)
