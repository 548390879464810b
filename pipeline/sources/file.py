"""A video file: read as fast as it is processed, nothing dropped."""

from __future__ import annotations

import logging
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import av
from av.container import InputContainer

from ..core.errors import SourceError
from .allowed import FILE
from .base import DEFAULTS, Clock, SourceOptions, SourceSpec
from .decode import reason
from .growing import GrowingFile, is_written
from .opening import Opening, open_container
from .stream import StreamSource

log = logging.getLogger(__name__)

# A program that keeps a file open without writing so many seconds is not waited for any longer.
PATIENCE = 10.0


class FileSource(StreamSource):
    """A video file.

    A file that ends before its container says is delivered as far as it goes, and
    ``problems`` says e.g. ``truncated: 61 of 105 frames``. Frames may change size midway.

    Raises:
        SourceError: it is missing, empty, no video, sound only, or nothing in it decodes.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        self._path = Path(spec.location)
        self._growing = _growing(self._path, spec.name, options)
        if self._growing is not None:
            try:
                container = _open_growing(self._growing, options, spec.name)
                self._begin(spec, options, container)
            except (av.error.FFmpegError, UnicodeError, SourceError) as error:
                # E.g. an MP4 whose index is written at its end.
                log.debug("%s cannot be read while it is written: %s", spec.name, error)
                if (again := _growing(self._path, spec.name, options)) is not None:
                    again.wait()
                    again.close()
                self._growing = None
            else:  # what it says of its length was true when it was opened
                self.info = replace(self.info, frames=None, duration=None)
                return
        self._begin(spec, options, _open(self._path, spec.name, options))

    def _begin(self, spec: SourceSpec, options: SourceOptions, container: InputContainer) -> None:
        self.still = container.format.name.endswith("_pipe")  # a picture of a rare kind
        super().__init__(spec, options, container)

    def stop(self) -> None:
        super().stop()
        if self._growing is not None:
            self._growing.halt()

    def close(self) -> None:
        super().close()
        if self._growing is not None:
            self._growing.close()

    def _clock(self) -> tuple[float, Clock]:
        created = _creation_time(self._container, self._stream.metadata)
        return (self._opened_at, "opened") if created is None else (created, "container")

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        # The rest of a damaged file cannot be read; the delivered frames count.
        self._problems.append(f"broke off after {self.decoded} frames: {reason(error)}")

    def _check_end(self) -> None:
        super()._check_end()
        expected, duration, reached = self.info.frames, self.info.duration, self._reached()
        if "mp4" in self._container.format.name:
            # The nothing with which an edit list delays the video counts in its length, too.
            reached = max(reached, self._decoder.end)
        slack = max(0.25, 2.5 / self._fps if self._fps else 0.0)
        short = duration is not None and duration - reached > slack
        if not short and not self._lacks_frames():
            return
        what = f"{self.decoded} frames could be read"
        if expected is not None and self.decoded < expected:
            what = f"{self.decoded} of {expected} frames"
        elif short:
            what = f"{max(0.0, reached):.1f} of {duration:.1f} s"
        self._problems.append(f"truncated: {what}")

    def _lacks_frames(self) -> bool:
        if "mp4" in self._container.format.name:
            # Here a frame count alone proves nothing: an edit list may leave stored frames out.
            try:
                return completeness(self._path) == "cut"
            except OSError as error:
                # FFmpeg has it open and read it to its end.
                log.warning("%s is gone (%s) since it was opened", self.name, error.strerror)
                return False
        lost = (self.info.frames or 0) - self.decoded - self.corrupt
        return lost > max(2, 0.02 * self.decoded)


def _growing(path: Path, name: str, options: SourceOptions) -> GrowingFile | None:
    """The file, if it is to be followed or a program has it open for writing.

    Raises:
        SourceError: it cannot be read.
    """
    halt = options.halt
    try:
        if not path.is_file():
            path.stat()  # raises where it does not exist
            return None
        file = GrowingFile(
            path,
            patience=PATIENCE if options.follow is None else options.follow,
            until_closed=options.follow is None,
            halted=lambda: halt is not None and halt.is_set(),
        )
        if options.follow is not None or is_written(file.fileno()):
            return file
        file.close()
        if path.stat().st_size == 0:
            raise SourceError(f"{name} is empty (0 bytes); give a video file")
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror}; check the path") from error
    return None


def _open_growing(file: GrowingFile, options: SourceOptions, name: str) -> InputContainer:
    # The first picture soon, as of a stream.
    probing = {"fpsprobesize": "0", "analyzeduration": "1000000"}
    return open_container(file, Opening(FILE, options.decoding, name, options=probing))


def _open(path: Path, name: str, options: SourceOptions) -> InputContainer:
    try:
        # The prefix keeps names like "a:b.mp4" from being taken for a protocol.
        return open_container(f"file:{path}", Opening(FILE, options.decoding, name))
    except (av.error.FFmpegError, UnicodeError) as error:
        raise SourceError(_refusal(path, name, error)) from error


def _refusal(path: Path, name: str, error: av.error.FFmpegError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return f"cannot read {name!r}: its name is not UTF-8 text; rename it"
    if not isinstance(error, av.error.InvalidDataError):
        return f"cannot read {name}: {reason(error)}"
    try:
        cut_short = completeness(path) == "no_index"
    except OSError as gone:
        return f"cannot read {name}: {gone.strerror}"
    if cut_short:
        return (
            f"{name} is cut short: an mp4 whose index (moov) at the end is missing cannot be "
            "decoded; copy or record it again"
        )
    return f"{name} is not a video that can be read (a playlist is none); give a video file"


def _creation_time(container: InputContainer, stream_metadata: dict[str, str]) -> float | None:
    """Seconds since the epoch; None when absent or implausible (a clock that was not set)."""
    text = container.metadata.get("creation_time") or stream_metadata.get("creation_time")
    if not text:
        return None
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        log.debug("creation time not understood: %r", text)
        return None
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    plausible = datetime(1990, 1, 1, tzinfo=UTC) < created < datetime.now(UTC) + timedelta(days=1)
    return created.timestamp() if plausible else None


Completeness = Literal["complete", "cut", "no_index", "not_mp4"]


def completeness(path: Path) -> Completeness:
    """Whether an MP4 file ends where its last outermost box ends.

    ``cut``: it ends inside a box; ``no_index``: it is cut and the index (``moov``) is missing,
    so that nothing can be decoded.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    kinds: set[bytes] = set()
    at = 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(16)
            length, kind = _box(header, size - at)
            if at == 0 and kind != b"ftyp":
                return "not_mp4"
            if length == 0 or at + length > size:
                return "cut" if b"moov" in kinds else "no_index"
            kinds.add(kind)
            at += length
    return "complete" if b"moov" in kinds else "no_index"


def _box(header: bytes, left: int) -> tuple[int, bytes]:
    """Length in bytes (0 when the header itself is incomplete or absurd) and kind of a box."""
    if len(header) < 8:
        return 0, b""
    length, kind = struct.unpack_from(">I4s", header)
    if length == 1:  # a 64-bit length follows
        length = struct.unpack_from(">Q", header, 8)[0] if len(header) == 16 else 0
    elif length == 0:  # to the end of the file
        length = left
    return (length if length >= 8 else 0), kind
