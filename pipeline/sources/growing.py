"""Files that another program is still writing."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

_CHECK_EVERY = 0.1  # seconds between two looks at the end of the file
_F_SETSIG = 10  # Linux; Python has no name for it


class GrowingFile:
    """A file that is read until it does not grow any more; for PyAV.

    It cannot seek: FFmpeg would take what a fragmented MP4 holds when it is opened for all of it.

    Args:
        patience: seconds without a change after which the file is at its end.
        until_closed: it is also at its end when no program has it open for writing any more.
        halted: true when reading ends; also see ``halt``.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(
        self, path: Path, *, patience: float, until_closed: bool, halted: Callable[[], bool]
    ) -> None:
        self._file = path.open("rb", buffering=0)
        self.name = str(path)
        self._patience = patience
        self._until_closed = until_closed
        self._halted = halted
        self._stop = threading.Event()

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._ends():
            complete = self._complete()  # asked first: what is written until then is read
            found = self._file.read(size)
            if found or complete:
                return found
            self._stop.wait(_CHECK_EVERY)
        return b""

    def wait(self) -> None:
        """Return when the file is complete, or reading ends."""
        while not (self._ends() or self._complete()):
            self._stop.wait(_CHECK_EVERY)

    def fileno(self) -> int:
        return self._file.fileno()

    def halt(self) -> None:
        """Nothing more is read; from any thread."""
        self._stop.set()

    def close(self) -> None:
        self._stop.set()
        self._file.close()

    def _ends(self) -> bool:
        return self._stop.is_set() or self._halted()

    def _complete(self) -> bool:
        descriptor = self._file.fileno()
        if self._until_closed and is_written(descriptor) is not True:
            return True
        return time.time() - os.fstat(descriptor).st_mtime >= self._patience


def is_written(descriptor: int) -> bool | None:
    """Whether a program has this file open for writing; None where the system does not say.

    Linux grants a lease on a file only while nobody has it open for writing.

    Args:
        descriptor: of the file, opened for reading only.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # A writer that comes in this moment makes the kernel send a signal: one that is ignored
        # by default, not SIGIO, which ends the process.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a file system without leases
        return None
    return False
