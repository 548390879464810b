"""A network stream (RTSP, RTMP, HTTP, …) or a video file behind a URL."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from ..errors import SourceError
from .base import DEFAULTS, SourceOptions, SourceSpec
from .decode import reason
from .stream import StreamSource

# HTTP serves both: what has a duration is a file.
_MAYBE_FILE = frozenset({"http", "https", "ftp"})
_TIMED_OUT = (av.error.ExitError, av.error.TimeoutError)


class UrlSource(StreamSource):
    """A stream at a URL; opening and reading fail after the time-outs of ``options``.

    It is live unless it has a duration. When the connection is lost the iteration raises.

    Raises:
        SourceError: it cannot be reached or is no video. The message holds no credentials.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        scheme = urlsplit(spec.location).scheme.lower()
        container = _open(spec, options, scheme)
        self.live = scheme not in _MAYBE_FILE or not container.duration
        super().__init__(spec, options, container, latency="low" if self.live else "normal")

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        why = reason(error)
        if isinstance(error, _TIMED_OUT):
            why = f"no data for {self._options.read_timeout:g} s"
        raise SourceError(f"{self.name} broke off after {self.decoded} frames: {why}") from None


def _open(spec: SourceSpec, options: SourceOptions, scheme: str) -> InputContainer:
    wishes: dict[str, str] = {}
    if scheme in {"rtsp", "rtsps"}:
        wishes["rtsp_transport"] = options.rtsp_transport
    started = time.monotonic()
    try:
        return av.open(
            spec.location,
            options=wishes,
            timeout=(options.open_timeout, options.read_timeout),
            mode="r",
        )
    except av.error.FFmpegError as error:
        # `from None`: PyAV's own message holds the URL, credentials included.
        # A time-out has different errors in different protocols: the clock is the better witness.
        waited = time.monotonic() - started
        timed_out = isinstance(error, _TIMED_OUT) or waited >= options.open_timeout
        why = f"no answer within {options.open_timeout:g} s" if timed_out else _why(error)
        raise SourceError(f"cannot open {spec.name}: {why}") from None


def _why(error: av.error.FFmpegError) -> str:
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return "user or password refused"
    return reason(error)
