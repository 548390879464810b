"""Events as JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..core.config import EventSettings
from ..core.errors import OutputError
from ..core.events import Event
from ..core.types import FrameResult
from .base import Sink
from .files import check_writable
from .rotation import Earlier, LinesFile, write_whole


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
        if file is not None:
            file.write(line)
        else:
            _to_stdout(line)

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
        return self._file


def _to_stdout(line: bytes) -> None:
    try:
        write_whole(sys.stdout.buffer, line)
    except BrokenPipeError as error:
        raise OutputError("the reader of the events went away") from error
    except OSError as error:
        raise OutputError(f"cannot write standard output: {error.strerror}") from error
