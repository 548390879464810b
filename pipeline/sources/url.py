"""A stream from the network: RTSP, HTTP (MPEG-TS, MJPEG, HLS), RTMP, UDP; or a file over HTTP."""

from __future__ import annotations

import errno
import socket
import time
from base64 import b64encode
from dataclasses import replace
from http.client import HTTPException
from pathlib import PurePosixPath
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import av
from av.container import InputContainer

from ..core.errors import Retry, SourceError
from ..core.redact import with_quoted_credentials
from .base import DEFAULTS, Source, SourceOptions, SourceSpec
from .decode import open_container, reason
from .http_client import REFUSALS, request, split_login
from .mjpeg import HttpPictures, holds_pictures
from .stream import StreamSource

# These serve both files and streams.
_MAYBE_FILE = frozenset({"http", "https", "ftp"})
# The length of a playlist's response says nothing about the stream's.
_PLAYLISTS = frozenset({"hls", "dash"})
# Some encoders announce a length that a live stream never reaches.
_LARGEST_FILE = 1 << 40
# Containers that are also sent without an end (``.ts``, ``.flv``, ``.mjpeg``) are not in it.
_FILE_SUFFIXES = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mxf"),
        *(".ogv", ".webm", ".wmv"),
    }
)
# Pictures are never sent under these names: FFmpeg asks for them, once.
_BY_FFMPEG = _FILE_SUFFIXES | {".ts", ".m2ts", ".mts", ".m3u8", ".m3u", ".mpd", ".flv"}
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_TIMED_OUT = (av.error.ExitError, av.error.TimeoutError)
# Another attempt fails until the setup changes: the pauses are long.
_REFUSED = {
    av.error.HTTPUnauthorizedError: REFUSALS[401],
    av.error.HTTPForbiddenError: REFUSALS[403],
    av.error.HTTPNotFoundError: REFUSALS[404],
    av.error.InvalidDataError: "what it sends is no video (invalid data)",
}


def open_url(spec: SourceSpec, options: SourceOptions = DEFAULTS) -> Source:
    """Open a URL: pictures over HTTP here, all else by FFmpeg.

    Raises:
        SourceError: it cannot be reached, or is neither a video nor a picture. The message holds no
            credentials.
    """
    if _suffix(spec.location) in _BY_FFMPEG | {None}:
        return UrlSource(spec, options)
    answer = request(spec.location, options, name=spec.name)
    try:
        if holds_pictures(answer):
            return HttpPictures(spec, options, answer)
        if answer.kind in _PAGES:
            why = (
                f"it is a web page ({answer.kind}), no video; give the address of the camera's "
                "stream or of a picture"
            )
            raise SourceError(f"cannot open {spec.name}: {why}", retry="slowly", reason=why)
    except BaseException:
        answer.close()
        raise
    answer.close()
    return UrlSource(replace(spec, location=answer.url), options)


class UrlSource(StreamSource):
    """A stream at a URL; live unless it is a file on a server.

    When the connection is lost the iteration raises; when the server ends the stream it ends.

    Raises:
        SourceError: it cannot be reached or is no video. The message holds no credentials.
    """

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        scheme = spec.location.partition("://")[0].lower()
        container = _open(spec, options, scheme)
        self.live = scheme not in _MAYBE_FILE or not _has_length(container)
        self._http = scheme in _MAYBE_FILE
        super().__init__(spec, options, container, latency="low" if self.live else "normal")

    def _unreadable(self, error: av.error.FFmpegError) -> SourceError:
        moves = not self.live and "mp4" in self._container.format.name
        if error.errno != errno.EIO or not moves:
            return super()._unreadable(error)
        # It was opened and has a length, so the server was there: it will be the same next time.
        why = (
            "its pictures cannot be fetched; an MP4 with its index at the end needs a server with "
            "Range requests, or rewrite it: ffmpeg -i IN -c copy -movflags faststart OUT"
        )
        return SourceError(f"cannot read {self.name}: {why}", retry="slowly", reason=why)

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        if self.live and self._http and error.errno == errno.EIO:
            return  # a closed stream without a length: older FFmpeg reports an end, too
        why = reason(error)
        if isinstance(error, _TIMED_OUT):
            why = f"no data for {self._options.read_timeout:g} s"
        message = f"{self.name} broke off after {self.decoded} frames: {why}"
        raise SourceError(message, reason=f"the connection was lost: {why}") from None


def _suffix(url: str) -> str | None:
    """The suffix of an http URL's path in lower case; None for other URLs."""
    try:
        parts = urlsplit(with_quoted_credentials(url))
    except ValueError:
        return None
    return PurePosixPath(parts.path).suffix.lower() if parts.scheme in {"http", "https"} else None


def _open(spec: SourceSpec, options: SourceOptions, scheme: str) -> InputContainer:
    started = time.monotonic()
    try:
        try:
            return _container(spec.location, spec, options, scheme)
        except av.error.HTTPUnauthorizedError:
            if scheme not in {"http", "https"}:
                raise
            # FFmpeg forgets the login at a redirect that names the host.
            with request(spec.location, options, name=spec.name) as answer:
                moved = answer.url
            return _container(moved, spec, options, scheme)
    except av.error.FFmpegError as error:
        # `from None`: PyAV's message holds the URL with its credentials.
        # A time-out raises a different error in each protocol: the time that passed decides.
        waited = time.monotonic() - started
        timed_out = isinstance(error, _TIMED_OUT) or waited >= options.open_timeout
        why, retry = _why(error, spec.location)
        if timed_out:
            why, retry = f"no answer within {options.open_timeout:g} s", "soon"
        raise SourceError(f"cannot open {spec.name}: {why}", retry=retry, reason=why) from None
    except ValueError:
        why = "the URL holds characters that no URL may; write them as %XX"
        raise SourceError(f"cannot open {spec.name}: {why}", retry="never", reason=why) from None


def _container(url: str, spec: SourceSpec, options: SourceOptions, scheme: str) -> InputContainer:
    return open_container(
        *(with_quoted_credentials(url), options.decoding, spec.name),
        options=_ffmpeg_options(scheme, options),
        timeout=(options.open_timeout, options.read_timeout),
    )


def _has_length(container: InputContainer) -> bool:
    """Whether the response has an end: then it is a file.

    A fragmented MP4 without a response length may be endless; its duration is that of the fragments
    read so far.
    """
    if container.format.name in _PLAYLISTS:
        return bool(container.duration)
    if container.format.name == "mpjpeg":
        return False  # pictures one after another
    if 0 < container.size < _LARGEST_FILE:
        return True
    fragmented = "mp4" in container.format.name and not any(s.frames for s in container.streams)
    return bool(container.duration) and not fragmented


def served_file(url: str, *, timeout: float = 3.0) -> bool:
    """Whether a URL names a video file on an HTTP server, by its suffix and the server's answer.

    The server is asked only about suffixes of files with an end. Without an answer (no server, a
    login other than Basic) it counts as a live stream, which may prove to be a file once open.
    """
    try:
        if _suffix(url) not in _FILE_SUFFIXES:
            return False
        address, login = split_login(url)
        question = Request(address, headers={"Range": "bytes=0-0"})
        if login is not None:
            basic = b64encode(":".join(login).encode()).decode()
            # Not a header of the request itself: that would be sent to another host, too.
            question.add_unredirected_header("Authorization", f"Basic {basic}")
        with urlopen(question, timeout=timeout) as answer:
            return "Content-Range" in answer.headers or "Content-Length" in answer.headers
    except (OSError, ValueError, HTTPException):
        return False


def _ffmpeg_options(scheme: str, options: SourceOptions) -> dict[str, str]:
    """Options of FFmpeg's protocols and demuxers; those that do not apply are ignored."""
    found = {
        # A program of a transport stream may move to other packet ids: follow it.
        "merge_pmt_versions": "1",
        # The first picture soon: measured with RTSP on loopback, 0.33 s instead of 1.13 s. Not
        # "nobuffer": that discards the packets that were probed, the key frame included (2.05 s).
        "fpsprobesize": "0",
    }
    if scheme not in _MAYBE_FILE:
        found["analyzeduration"] = "2000000"
    if scheme in {"rtsp", "rtsps"}:
        found["rtsp_transport"] = options.rtsp_transport
    if scheme == "udp":
        found["overrun_nonfatal"] = "1"  # a late reader is no error
    if scheme in {"rtsp", "rtsps", "udp", "rtp"}:
        # A key frame is a burst of packets: the kernel's usual 200 kB lose some of it.
        found["buffer_size"] = str(4 << 20)
    return found


def _why(error: av.error.FFmpegError, url: str) -> tuple[str, Retry]:
    for kind, why in _REFUSED.items():
        if isinstance(error, kind):
            return why, "slowly"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return reason(error), "never"
    if error.errno == errno.EIO:
        if not _resolves(url):
            return "the name of the host is not known (DNS)", "soon"
        return "the connection broke, or what it sends is no video (input/output error)", "soon"
    return reason(error), "soon"


def _resolves(url: str) -> bool:
    """Whether the host name is known; FFmpeg reports an unknown one like other failures."""
    try:
        host = urlsplit(url).hostname
        return host is None or bool(socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False
