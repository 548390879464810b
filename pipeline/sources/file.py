"""A video file: read as fast as it is asked for, nothing dropped."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
from av.container import InputContainer

from ..errors import SourceError
from .base import DEFAULTS, Clock, SourceOptions, SourceSpec
from .decode import reason
from .stream import StreamSource

log = logging.getLogger(__name__)

# FFmpeg plays text as if it were a terminal's or old paint programs' screen.
_NOT_VIDEO = frozenset({"tty", "bin", "xbin", "adf", "idf", "txd"})


class FileSource(StreamSource):
    """A video file.

    A file that ends before its container says is delivered as far as it goes, and
    ``problems`` says e.g. ``truncated: 61 of 105 frames``. Frames may change size midway.

    Raises:
        SourceError: it is missing, empty, no video, sound only, or nothing in it decodes.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        super().__init__(spec, options, _open(Path(spec.location), spec.name))

    def _clock(self) -> tuple[float, Clock]:
        created = _creation_time(self._container, self._stream.metadata)
        return (self._opened_at, "opened") if created is None else (created, "container")

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        # What is left of a damaged file cannot be read; what was delivered counts.
        self._problems.append(f"broke off after {self.decoded} frames: {reason(error)}")

    def _check_end(self) -> None:
        expected, claimed = self.info.frames, self.info.duration
        if claimed is None:
            return
        # The end of any stream counts: sound may go on after the last picture. A frame count
        # alone proves nothing, as an edit list may leave stored frames out.
        start = (self._container.start_time or 0) / av.time_base
        reached = self._decoder.end - start
        slack = max(0.25, 2.5 / self._fps if self._fps else 0.0)
        if claimed - reached <= slack:
            return
        if expected is not None and self.decoded < expected:
            self._problems.append(f"truncated: {self.decoded} of {expected} frames")
        else:
            self._problems.append(f"truncated: {max(0.0, reached):.1f} of {claimed:.1f} s")


def _open(path: Path, name: str) -> InputContainer:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror}; check the path") from error
    if path.is_file() and size == 0:
        raise SourceError(f"{name} is empty (0 bytes); give a video file")
    try:
        # The prefix keeps names like "a:b.mp4" from being taken for a protocol, and the list
        # keeps playlists from reaching out into the network.
        container = av.open(
            f"file:{path}", options={"protocol_whitelist": "file,crypto,data"}, mode="r"
        )
    except (av.error.FFmpegError, UnicodeError) as error:
        raise SourceError(_refusal(name, error)) from error
    if container.format.name in _NOT_VIDEO:
        container.close()
        raise SourceError(f"{name} is not a video; give a video file")
    return container


def _refusal(name: str, error: av.error.FFmpegError | UnicodeError) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return f"{name} is not a video that can be read: damaged, cut short, or something else"
    if isinstance(error, av.error.FFmpegError):
        return f"cannot read {name}: {reason(error)}"
    return f"cannot read {name}: its metadata is not text"


def _creation_time(container: InputContainer, stream_metadata: dict[str, str]) -> float | None:
    """Seconds since the epoch; None when absent or not to be believed (clocks that were unset)."""
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
    believable = datetime(1990, 1, 1, tzinfo=UTC) < created < datetime.now(UTC) + timedelta(days=1)
    return created.timestamp() if believable else None
