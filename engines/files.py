"""Atomic file writes: a file is complete or absent, also after a crash."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PART = ".part-"
"""Prefix of a file that is being written."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under another name in the same folder, force it to disk, and rename it.

    Raises:
        OSError: the folder cannot be written or is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=PART, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A rename is on disk once its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
