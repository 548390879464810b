"""Private folders, and files that are written or erased as a whole; see ``private_files``."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from .private_files import (
    OTHERS_WRITE,
    FileRefused,
    checked,
    file_mode,
    folder_mode,
    followed,
    mode_of,
    tighten,
    user_name,
    warn_once,
)

PART = ".part-"
"""Prefix of a file that is being written."""

_ZEROS = bytes(2**20)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, private; those that exist stay as they are.

    Raises OSError if it cannot be made, FileExistsError if it is no folder.
    """
    missing = [place for place in (path, *path.parents) if not place.exists()]
    for place in reversed(missing):
        try:
            place.mkdir(mode=folder_mode())
        except FileExistsError:
            continue  # another process was first
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        # The umask took some away, perhaps all.
        with suppress(PermissionError):
            descriptor = os.open(place, flags)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    os.fchmod(descriptor, folder_mode())
            finally:
                os.close(descriptor)
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))


def own_folder(path: Path) -> None:
    """Make a folder for code that is executed, or make sure that others cannot write into it.

    Raises:
        FileRefused: it is another user's, or others may write into it.
        OSError: it cannot be made.
    """
    make_folder(path)
    check_folder(path)


def check_folder(path: Path) -> None:
    """As ``own_folder``, for a folder that exists."""
    place = Path(followed(path))
    tighten(place)
    facts = place.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        raise FileRefused(path, f"it belongs to {user_name(facts.st_uid)}")
    if facts.st_mode & OTHERS_WRITE:
        raise FileRefused(path, f"others may write into it (mode {mode_of(facts)})")


def warn_of_shared(folder: Path) -> None:
    """Warn where another user can exchange what lies in a folder."""
    facts = folder.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        warn_once(
            folder, f"this folder belongs to {user_name(facts.st_uid)}, who can replace its files"
        )
    elif facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
        warn_once(
            folder,
            f"every user may replace files of this folder (mode {mode_of(facts)}); chmod o-w",
        )


def erase(path: Path, *, unless: bytes = b"") -> None:
    """Overwrite a file with zeros and delete it; one that starts with ``unless`` stays.

    Raises:
        FileRefused: see ``private``; nothing is changed.
        OSError: it cannot be overwritten or deleted.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = checked(path.name, os.O_RDWR, folder=folder)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            if unless and file.read(len(unless)) == unless:
                return
            file.seek(0)
            left = os.fstat(file.fileno()).st_size
            while left:
                left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
            os.fsync(file.fileno())
            # Who has it open keeps nothing.
            file.truncate(0)
        os.unlink(path.name, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under another name in the same folder, force it to disk, and rename it.

    Raises:
        OSError: the folder cannot be written or is full; nothing is left behind.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=PART, dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            with suppress(PermissionError):
                os.fchmod(file.fileno(), file_mode())
            os.fsync(file.fileno())
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
