"""A file of lines that grows for months: whole lines only, and a new file in good time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from ..core.errors import OutputError
from ..core.filenames import with_parts
from .files import remove, stamped_files, utc_stamp

log = logging.getLogger(__name__)

Earlier = Literal["replace", "append"]
_TAIL_BYTES = 1 << 16


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

        Raises:
            OutputError: it cannot be written; the file ends with the line before.
        """
        try:
            if self._due(len(line)):
                self._rotate()
            write_whole(self._file, line)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        self._day = _day(self._clock())

    def close(self) -> None:
        """May be repeated."""
        self._file.close()

    def _open(self, earlier: Earlier) -> BinaryIO:
        try:
            if earlier == "append" and _is_regular(self._path):
                _finish_last_line(self._path)
                if self._path.stat().st_size:
                    self._day = _day(self._path.stat().st_mtime)
            return self._path.open("wb" if earlier == "replace" else "ab", buffering=0)
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
        self._path.replace(path if number == 1 else path.with_stem(f"{path.stem}-{number}"))
        full, self._file = self._file, self._path.open("ab", buffering=0)
        full.close()
        if self._keep is not None:
            for *_, oldest in stamped_files(self._path)[: -self._keep]:
                remove(oldest)


def write_whole(file: BinaryIO, line: bytes) -> None:
    """Write all of a line, or leave a regular file as it was.

    Raises:
        OSError: it could not be written.
    """
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
                file.seek(start)
        raise


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def _position(file: BinaryIO) -> int | None:
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.tell()
    except (OSError, ValueError):
        return None
    return None


def _finish_last_line(path: Path) -> None:
    """Make a file end with a whole line: complete it with a line end, else cut it off."""
    with path.open("rb+") as file:
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
