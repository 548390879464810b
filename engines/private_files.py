"""Private files: faces, names and native code are opened, made and erased so that no other user of
the machine can read them, change them, or redirect them.

What is made has the mode 0600, folders 0700, whatever the umask; ``allow_group`` adds reading by
the group. What exists is opened for writing only if it is a regular file of this user (or root)
with one name: a link or a pipe that somebody put in its place is refused. What is the user's own
and too open is made private, with a warning. Refusals are ``OSError`` with a ``strerror`` in words.
"""

from __future__ import annotations

import errno
import logging
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

GroupAccess = Literal["none", "read"]

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_LINKS = 40
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# Of the process, as the umask is.
_group: GroupAccess = "none"
_warned: set[str] = set()


class FileRefused(PermissionError):
    """A file or folder that must not be used; ``strerror`` says why and what to do."""

    def __init__(self, path: str | Path, why: str) -> None:
        super().__init__(errno.EPERM, why, os.fspath(path))


def allow_group(access: GroupAccess) -> None:
    """Whether the group may read what this process makes from now on."""
    global _group
    _group = access


def file_mode() -> int:
    """Of new files."""
    return 0o600 if _group == "none" else 0o640


def folder_mode() -> int:
    """Of new folders."""
    return 0o700 if _group == "none" else 0o750


# --- opening -----------------------------------------------------------------------------------


def private(path: str | Path, flags: int, *, folder: int | None = None) -> int:
    """Open or make a file whose name the program chose; an ``opener`` for ``open``.

    ``folder`` is a descriptor that the path is relative to.

    Raises:
        FileRefused: it is a link, not a regular file, another user's, or has several names;
            nothing is changed.
        OSError: it cannot be opened.
    """
    kept = (flags & ~(os.O_TRUNC | os.O_CREAT | os.O_EXCL)) | _SAFE
    while True:
        if flags & os.O_CREAT:
            try:
                made = os.open(path, kept | os.O_CREAT | os.O_EXCL, file_mode(), dir_fd=folder)
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
            else:
                with suppress(PermissionError):  # file systems without modes
                    os.fchmod(made, file_mode())  # the umask took some away
                return made
        try:
            descriptor = checked(path, kept, folder=folder)
        except FileNotFoundError:
            if flags & os.O_CREAT:
                continue  # removed in between
            raise
        try:
            _tighten(path, descriptor, os.fstat(descriptor), file_mode())
            if flags & os.O_TRUNC:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def checked(path: str | Path, flags: int, *, folder: int | None = None) -> int:
    """As ``private``, for a file that exists, whose mode stays."""
    descriptor = _opened_safely(path, flags, folder)
    try:
        _check(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def named(path: str | Path, flags: int) -> int:
    """As ``private``, for a path that the user chose: pipes and devices, and links that the user
    (or root) made, are followed.

    Raises OSError, see ``private``.
    """
    place = followed(path)
    if _in_proc(place):  # /dev/stdout, or <(…) of a shell: already open
        return os.open(place, flags | os.O_CLOEXEC)
    with suppress(FileNotFoundError):
        facts = os.lstat(place)
        if stat.S_ISFIFO(facts.st_mode) or stat.S_ISCHR(facts.st_mode):
            _check_owner(place, facts)
            kept = flags & ~(os.O_CREAT | os.O_TRUNC)
            return os.open(place, kept | os.O_NOFOLLOW | os.O_CLOEXEC)
    return private(place, flags)


def followed(path: str | Path) -> str:
    """The path behind links in its last part. Raises FileRefused if another user made one."""
    place = os.fspath(path)
    for _ in range(_MOST_LINKS):
        if _in_proc(place):
            return place
        try:
            # The link itself: it cannot be exchanged between the question and the answer.
            link = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return place
        try:
            facts = os.fstat(link)
            if not stat.S_ISLNK(facts.st_mode):
                return place
            _check_owner(place, facts, what="a symbolic link that belongs")
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        place = os.path.join(os.path.dirname(place), target)  # noqa: PTH118, PTH120
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))


def read_trusted(path: Path) -> bytes:
    """The content of a file that no other user can have written, as native code must be.

    Raises:
        FileRefused: others own it or may write it, it is a link, or has several names.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=checked) as file:
        facts = os.fstat(file.fileno())
        if facts.st_mode & OTHERS_WRITE:
            raise FileRefused(path, f"others may write it (mode {mode_of(facts)}); remove it")
        return file.read()


def read_known(path: Path) -> bytes:
    """As ``read_trusted``; empty where there is none, or it is refused, which is logged."""
    try:
        return read_trusted(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s is not used: %s", path, error.strerror)
    return b""


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes, not through a link.

    Raises OSError if it is something else, larger, or cannot be read.
    """
    with open(path, "rb", opener=regular) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", os.fspath(path))
    return content


def regular(path: str | Path, flags: int) -> int:
    """As ``checked``, for reading what may be anybody's: only links and no files are refused."""
    descriptor = _opened_safely(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise FileRefused(path, "it is not a regular file")


def _opened_safely(path: str | Path, flags: int, folder: int | None = None) -> int:
    try:
        return os.open(path, flags | _SAFE, dir_fd=folder)
    except OSError as error:
        problem = error
    raise _explained(path, problem)  # out here, so that the words are the first cause


def _explained(path: str | Path, error: OSError) -> OSError:
    if error.errno == errno.ELOOP:
        return FileRefused(path, "it is a symbolic link, which is not followed; remove it")
    if error.errno == errno.ENXIO:  # a pipe that nobody reads
        return FileRefused(path, "it is not a regular file; remove it")
    return error


def _check(path: str | Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise FileRefused(path, "it is not a regular file; remove it")
    _check_owner(path, facts)
    if facts.st_nlink > 1:
        raise FileRefused(path, "it has several names (hard links); remove this one")


def _check_owner(path: str | Path, facts: os.stat_result, *, what: str = "it belongs") -> None:
    if facts.st_uid not in (os.geteuid(), 0):
        raise FileRefused(path, f"{what} to {user_name(facts.st_uid)}; remove it")


def _in_proc(path: str) -> bool:
    parent = os.path.dirname(path)  # noqa: PTH120
    return os.path.realpath(parent).startswith("/proc/")


# --- modes -----------------------------------------------------------------------------------


def user_name(uid: int) -> str:
    """``user ada``, or the number where there is no name."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def tighten(path: Path) -> None:
    """Make a regular file or a folder of this user private; a link and what others own stay.

    Raises OSError if that fails.
    """
    with _opened(path) as descriptor:
        facts = os.fstat(descriptor)
        folder = stat.S_ISDIR(facts.st_mode)
        # A path of the descriptor: it may not be open for reading.
        place = f"/proc/self/fd/{descriptor}"
        if folder or stat.S_ISREG(facts.st_mode):
            _tighten(path, place, facts, folder_mode() if folder else file_mode())


def _tighten(path: str | Path, place: str | int, facts: os.stat_result, most: int) -> None:
    open_to_others = stat.S_IMODE(facts.st_mode) & 0o077 & ~most
    if not open_to_others or facts.st_uid != os.geteuid():
        return
    mode = stat.S_IMODE(facts.st_mode) & ~open_to_others
    with suppress(PermissionError):
        os.chmod(place, mode)  # noqa: PTH101
        done = "change" if open_to_others & 0o022 else "read"
        warn_once(
            path,
            f"others could {done} it (mode {mode_of(facts)}): it has mode {mode:04o} now; "
            "the setting storage.group_access lets a group read",
        )


def warn_once(path: str | Path, text: str) -> None:
    """One line about a file or folder, once in this process."""
    line = f"{os.fspath(path)!r}: {text}"
    if line not in _warned:
        _warned.add(line)
        log.warning("%s", line)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # O_PATH: closing it frees none of SQLite's locks on the file.
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def mode_of(facts: os.stat_result) -> str:
    return f"{stat.S_IMODE(facts.st_mode):04o}"
