"""Locks on outputs: two runs do not write one file without a word."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from facestream.engines.closing import Closing
from facestream.engines.private_files import private

from ..core.errors import OutputError
from ..core.filenames import lock_of

log = logging.getLogger(__name__)

Share = Literal["exclusive", "shared"]


class OutputLock(Closing):
    """Holds an output file, or a folder of them, until it is closed.

    The lock is the system's, on a hidden file beside the output that names the processes. It ends
    with its process, however that ends, so a file that was left behind blocks nobody. Where there
    can be none (a folder that may not be written, a file system without locks) nothing is locked.

    Args:
        path: need not exist yet; what is neither a file nor a folder is not locked.
        share: ``shared`` locks exclude ``exclusive`` ones only.

    Raises:
        OutputError: another run holds it.
    """

    def __init__(self, path: Path, *, share: Share = "exclusive") -> None:
        self._descriptor: int | None = None
        place = path.resolve()
        if place.exists() and not (place.is_file() or place.is_dir()):
            return
        self._path = lock_of(place)
        try:
            while not self._acquire(share):
                pass
        except BlockingIOError:
            raise OutputError(
                f"another run{_processes(self._path)} is writing {path}; wait until it ends, or "
                "write elsewhere"
            ) from None
        except OSError as error:
            log.debug("%s is not locked: %s", path, error)

    def _acquire(self, share: Share) -> bool:
        """True when it is held; False when its file was removed meanwhile.

        Raises BlockingIOError when another process holds it, OSError when it cannot be locked.
        """
        descriptor = private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            kind = fcntl.LOCK_EX if share == "exclusive" else fcntl.LOCK_SH
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            if not self._is_ours(descriptor):
                os.close(descriptor)
                return False
            with suppress(OSError):  # on a full disk it is locked all the same
                if share == "exclusive":
                    os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def _is_ours(self, descriptor: int) -> bool:
        """True while the open file is the one at the path: the holder before may remove it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let others write; may be repeated."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):  # another shared holder is left: the file stays
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_ours(descriptor):
                self._path.unlink()
        os.close(descriptor)


def _processes(path: Path) -> str:
    """`` (process 12)`` for those that a lock file names and that are alive."""
    try:
        named = path.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return ""
    alive = sorted({int(word) for word in named if word.isdigit() and _alive(int(word))})
    return f" (process {', '.join(map(str, alive))})" if alive else ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
