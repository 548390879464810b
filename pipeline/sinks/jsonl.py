"""Events as JSON lines."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from ..events import Event
from ..types import FrameResult
from .base import Sink
from .files import check_writable


class JsonlSink(Sink):
    """Writes one JSON object per line, each at once and whole.

    A line is handed to the operating system before the next event is taken, so a run that is
    killed loses nothing that was written. A file of an earlier run is replaced with the first
    frame or event of this one, not before.

    Args:
        path: the file, or ``-`` for standard output.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._stdout = str(path) == "-"
        self._file: BinaryIO | None = None
        self._closed = False
        if not self._stdout:
            check_writable(self._path)

    @property
    def path(self) -> Path | None:
        """The file; None for standard output."""
        return None if self._stdout else self._path

    def write(self, result: FrameResult) -> None:
        self._open()

    def event(self, event: Event) -> None:
        file = self._open()
        line = event.to_json().encode() + b"\n"
        try:
            _write_whole(file, line)
        except BrokenPipeError as error:
            raise OutputError("the reader of the events went away") from error
        except OSError as error:
            raise OutputError(f"cannot write {self._name}: {error.strerror}") from error

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._file is not None and not self._stdout:
            self._file.close()

    @property
    def _name(self) -> str:
        return "standard output" if self._stdout else str(self._path)

    def _open(self) -> BinaryIO:
        if self._closed:
            raise ValueError("the sink is closed")
        if self._file is None:
            if self._stdout:
                self._file = sys.stdout.buffer
            else:
                try:
                    self._file = self._path.open("wb", buffering=0)
                except OSError as error:
                    raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        return self._file


def _write_whole(file: BinaryIO, line: bytes) -> None:
    """Write all of a line, or leave a regular file as it was."""
    start = _position(file)
    done = 0
    try:
        while done < len(line):
            done += file.write(line[done:])
        file.flush()
    except OSError:
        # A full disk takes the beginning of a line: take it back, the file stays valid.
        if start is not None:
            with contextlib.suppress(OSError):
                file.truncate(start)
        raise


def _position(file: BinaryIO) -> int | None:
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.tell()
    except (OSError, ValueError):
        return None
    return None
