"""Events as JSON lines, in a file that grows for months: whole lines only, and rotated."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from facestream.engines.private_files import named

from ..core.config import EventSettings
from ..core.errors import OutputClosed, OutputError
from ..core.events import Event
from ..core.filenames import with_parts
from ..core.types import FrameResult
from .base import Sink
from .files import check_room, check_writable, remove, stamped_files, utc_stamp

log = logging.getLogger(__name__)

Earlier = Literal["replace", "append"]
_TAIL_BYTES = 1 << 16


class JsonlSink(Sink):
    """Writes one JSON object per line, each at once and whole.

    A line is handed to the operating system before the next event is taken, so a run that is
    killed loses nothing that was written. A file of an earlier run is left alone until the first
    frame or event of this one.

    Args:
        path: the file, or ``-`` for standard output.
        settings: which events are written, and when a new file begins.
        earlier: whether the events of an earlier run are replaced or appended to.
        clock: seconds since the epoch.

    Raises:
        OutputError: the file cannot be written.
    """

    output = "events"

    def __init__(
        self,
        path: Path | str,
        *,
        settings: EventSettings | None = None,
        earlier: Earlier = "replace",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._stdout = str(path) == "-"
        self._settings = settings or EventSettings()
        self._earlier: Earlier = earlier
        self._clock = clock
        self._file: LinesFile | None = None
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
        if event.type not in self._settings.types:
            return
        line = event.to_json().encode() + b"\n"
        if file is None:
            _to_stdout(line)
            return
        try:
            file.write(line)
        except OutputError:
            # Opened again at the next attempt: the device may have been away. What was begun of
            # the line is cut off then, if it could not be taken back.
            self._file = None
            file.close()
            raise

    def check(self) -> bool:
        self._open()
        if self._stdout or not is_regular(self._path):
            return False
        check_room(self._path.parent)
        return True

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._file is not None:
            self._file.close()

    def _open(self) -> LinesFile | None:
        if self._closed:
            raise ValueError("the sink is closed")
        if self._file is None and not self._stdout:
            size = self._settings.rotate_megabytes
            self._file = LinesFile(
                self._path,
                earlier=self._earlier,
                max_bytes=None if size is None else round(size * 1e6),
                daily=self._settings.rotate_daily,
                keep=self._settings.keep_files,
                clock=self._clock,
            )
            self._earlier = "append"
        return self._file


def _to_stdout(line: bytes) -> None:
    # Without Python's buffer, which would keep what a full disk did not take.
    buffer = sys.stdout.buffer
    try:
        buffer.flush()
        _write_whole(getattr(buffer, "raw", buffer), line)
    except BrokenPipeError as error:
        raise OutputClosed("the reader of the events went away") from error
    except OSError as error:
        raise OutputError(f"cannot write standard output: {error.strerror}") from error


class LinesFile:
    """Appends lines, each whole or not at all.

    The file keeps its name; a full one is renamed to ``<stem>-<UTC time of the change>`` (so all
    that is in it is older) and a new one begins, as ``tail -F`` expects. What is not a regular
    file is never rotated.

    Args:
        path: the file.
        earlier: whether the lines of an earlier run are replaced or kept. An unfinished line at
            their end, as a power cut leaves it, is cut off.
        max_bytes: a line that would make the file larger goes into a new one; None: no limit.
        daily: begin a new file with the first line after midnight (UTC).
        keep: how many rotated files stay; None: all.
        clock: seconds since the epoch.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        earlier: Earlier = "replace",
        max_bytes: int | None = None,
        daily: bool = False,
        keep: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._daily = daily
        self._keep = keep
        self._clock = clock
        self._day: date | None = None
        self._file = self._open(earlier)

    def write(self, line: bytes) -> None:
        """Append a line, which ends with a line end; it is with the system on return.

        Raises OutputError if it cannot be written; the file ends with the line before.
        """
        try:
            if self._due(len(line)):
                self._rotate()
            _write_whole(self._file, line)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        self._day = _day(self._clock())

    def close(self) -> None:
        """May be repeated."""
        self._file.close()

    def _open(self, earlier: Earlier) -> BinaryIO:
        try:
            if earlier == "append" and is_regular(self._path):
                _finish_last_line(self._path)
                if self._path.stat().st_size:
                    self._day = _day(self._path.stat().st_mtime)
            # Appending, also to a new file: lines of two processes stay whole.
            file = _appending(self._path)
            if earlier == "replace" and is_regular(self._path):
                file.truncate(0)
                file.seek(0)
            return file
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error

    def _due(self, more: int) -> bool:
        size = _position(self._file)
        if not size:
            return False
        if self._max_bytes is not None and size + more > self._max_bytes:
            return True
        return self._daily and self._day is not None and _day(self._clock()) > self._day

    def _rotate(self) -> None:
        # Renamed first: there is no moment in which a line could be overwritten.
        stamp = utc_stamp(self._clock())
        path = with_parts(self._path, stamp)
        number = 1 + max((n for s, n, _ in stamped_files(self._path) if s == stamp), default=0)
        with contextlib.suppress(FileNotFoundError):  # the new one could not be opened before
            self._path.replace(path if number == 1 else path.with_stem(f"{path.stem}-{number}"))
        full, self._file = self._file, _appending(self._path)
        full.close()
        if self._keep is not None:
            for *_, oldest in stamped_files(self._path)[: -self._keep]:
                remove(oldest)


def _write_whole(file: BinaryIO | io.RawIOBase, line: bytes) -> None:
    """Write all of a line, or leave a regular file as it was. Raises OSError if it could not be
    written."""
    done = 0
    try:
        while done < len(line):
            taken = file.write(line[done:])
            done += taken or 0
            if taken is None:  # a full pipe that does not block
                time.sleep(0.01)
        file.flush()
    except OSError:
        # A full disk takes the beginning of a line: take it back, the file stays valid. Not where
        # another run has appended a line meanwhile.
        end = _position(file)
        with contextlib.suppress(OSError):
            if done and end is not None and os.fstat(file.fileno()).st_size == end:
                file.truncate(end - done)
                file.seek(end - done)
        raise


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _appending(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.fdopen(named(path, flags), "ab", buffering=0)


def is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _position(file: BinaryIO | io.RawIOBase) -> int | None:
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.tell()
    except (OSError, ValueError):
        return None
    return None


def _finish_last_line(path: Path) -> None:
    """Make a file end with a whole line: complete it with a line end, else cut it off."""
    with open(path, "rb+", opener=named) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL_BYTES, 0))
        tail = file.read()
        if not tail or tail.endswith(b"\n"):
            return
        last = tail[tail.rfind(b"\n") + 1 :]
        try:
            json.loads(last)
            file.write(b"\n")
        except ValueError:
            file.truncate(size - len(last))
            log.warning("%s: cut off an unfinished line of an earlier run", path)
