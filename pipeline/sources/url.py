"""A stream from the network: RTSP, HTTP (MPEG-TS, MJPEG, HLS), RTMP, UDP; or a file over HTTP."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from ..core.errors import Retry, SourceError
from ..core.networks import AddressRules
from ..core.redact import with_quoted_credentials
from .allowed import HTTP, SCHEMES, STREAMS
from .base import DEFAULTS, Source, SourceOptions, SourceSpec
from .decode import reason
from .http_client import REFUSALS, HttpAnswer, HttpClient, reason_of
from .http_file import LARGEST_FILE, HttpFiles
from .mjpeg import HttpPictures, holds_pictures
from .opening import Opening, open_container
from .reach import pinned
from .rtsp_check import followed
from .stream import StreamSource
from .tls import TLS_SCHEMES, certificate_problem

# The length of a playlist's response says nothing about the stream's.
_PLAYLISTS = frozenset({"hls", "dash"})
# FFmpeg takes a playlist for one by its suffix; it does not see what the server calls it.
_FORMATS = {
    **dict.fromkeys(
        (
            *("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl"),
            "audio/x-mpegurl",
        ),
        "hls",
    ),
    "application/dash+xml": "dash",
}
# Containers that are also sent without an end (``.ts``, ``.flv``, ``.mjpeg``) are not in it.
_FILE_SUFFIXES = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mxf"),
        *(".ogv", ".webm", ".wmv"),
    }
)
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
    """Open a URL: over HTTP the bytes are fetched here, else FFmpeg connects.

    Raises:
        SourceError: it cannot be reached, or is neither a video nor a picture. The message holds no
            credentials.
    """
    scheme = spec.location.partition("://")[0].lower()
    if scheme not in SCHEMES:
        why = f"there is no kind of URL {scheme[:20]!r} here; use {', '.join(SCHEMES)}"
        raise SourceError(f"cannot open {spec.name}: {why}", retry="never", reason=why)
    if scheme in STREAMS:
        return UrlSource(spec, options)
    client = HttpClient(spec.location, options, name=spec.name)
    answer = client.get(start=0 if _suffix(spec.location) in _FILE_SUFFIXES else None)
    try:
        if holds_pictures(answer):
            return HttpPictures(spec, options, answer)
        if answer.kind in _PAGES:
            why = (
                f"it is a web page ({answer.kind}), no video; give the address of the camera's "
                "stream or of a picture"
            )
            raise SourceError(f"cannot open {spec.name}: {why}", retry="slowly", reason=why)
        return UrlSource(spec, options, client=client, answer=answer)
    except BaseException:
        answer.close()
        raise


class UrlSource(StreamSource):
    """A stream at a URL; live unless it is a file on a server.

    When the connection is lost the iteration raises; when the server ends the stream it ends.

    Args:
        client: makes the requests of an HTTP source.
        answer: to its first; closed by the source.

    Raises:
        SourceError: it cannot be reached or is no video. The message holds no credentials.
    """

    def __init__(
        self,
        spec: SourceSpec,
        options: SourceOptions = DEFAULTS,
        *,
        client: HttpClient | None = None,
        answer: HttpAnswer | None = None,
    ) -> None:
        started = time.monotonic()
        self._in_parts = answer is None or answer.ranges
        self._files: HttpFiles | None = None
        try:
            if client is not None and answer is not None:
                self._files = HttpFiles(
                    client, answer, name=spec.name, seconds=options.open_timeout
                )
                container = _open_http(spec, options, answer, self._files)
                self._files.opened()
                self.live = not _has_length(container, answer)
            else:
                container = _open_stream(spec, options)
                self.live = not (spec.location.startswith("ftp:") and container.size > 0)
        except (av.error.FFmpegError, ValueError) as error:
            self._close_files()
            # `from None`: PyAV's message holds the URL with its credentials.
            waited = time.monotonic() - started
            raise _failure(error, spec, options, waited=waited) from None
        except BaseException:
            self._close_files()
            raise
        super().__init__(spec, options, container, latency="low" if self.live else "normal")

    def close(self) -> None:
        super().close()
        self._close_files()

    def _close_files(self) -> None:
        if self._files is not None:
            self._files.close()

    def _without_frames(self) -> SourceError:
        if self.live or self._in_parts or "mp4" not in self._container.format.name:
            return super()._without_frames()
        # It was opened and has a length, so the server was there: it will be the same next time.
        why = (
            "its pictures cannot be fetched; an MP4 with its index at the end needs a server with "
            "Range requests, or rewrite it: ffmpeg -i IN -c copy -movflags faststart OUT"
        )
        return SourceError(f"cannot read {self.name}: {why}", retry="slowly", reason=why)

    def _broke_off(self, error: av.error.FFmpegError) -> None:
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


def _open_http(
    spec: SourceSpec, options: SourceOptions, answer: HttpAnswer, files: HttpFiles
) -> InputContainer:
    opening = Opening(
        *(HTTP, options.decoding, spec.name),
        format=_FORMATS.get(answer.kind),
        # Without lasting connections each part of a playlist is opened by `HttpFiles`.
        options=_PROBING | {"http_persistent": "0", "http_multiple": "0"},
        timeout=(options.open_timeout, options.read_timeout),
    )
    return open_container(answer.url, opening, io_open=files)


def _open_stream(spec: SourceSpec, options: SourceOptions) -> InputContainer:
    url, scheme = spec.location, spec.location.partition("://")[0]
    began = time.monotonic()
    if scheme in {"rtsp", "rtsps"}:
        url = followed(url, options, name=spec.name)
        if options.networks is not None:
            url = _pinned(url, options.networks, name=spec.name)
    left = max(0.1, options.open_timeout - (time.monotonic() - began))
    opening = Opening(
        *(STREAMS[scheme], options.decoding, spec.name),
        options=_PROBING | _stream_options(scheme, options),
        timeout=(left, options.read_timeout),
    )
    return open_container(with_quoted_credentials(url), opening)


def _pinned(url: str, rules: AddressRules, *, name: str) -> str:
    """The URL for FFmpeg, which resolves names itself.

    The certificate of rtsps is for the name, which stays: only its addresses are checked again.
    """
    try:
        return pinned(url, rules, replace_name=url.startswith("rtsp:"))
    except OSError as error:
        why = reason_of(error, 0, "no answer within")
        raise SourceError(f"cannot open {name}: {why}", retry="slowly", reason=why) from None


def _has_length(container: InputContainer, answer: HttpAnswer) -> bool:
    """Whether the response has an end: then it is a file.

    A fragmented MP4 without a response length may be endless; its duration is that of the fragments
    read so far.
    """
    if container.format.name in _PLAYLISTS:
        return bool(container.duration)
    if container.format.name == "mpjpeg":
        return False  # pictures one after another
    if answer.length is not None and 0 < answer.length < LARGEST_FILE:
        return True
    fragmented = "mp4" in container.format.name and not any(s.frames for s in container.streams)
    return bool(container.duration) and not fragmented


def served_file(url: str, options: SourceOptions = DEFAULTS, *, timeout: float = 3.0) -> bool:
    """Whether a URL names a video file on an HTTP server, by its suffix and the server's answer.

    The server is asked only about suffixes of files with an end. Without an answer (no server, a
    refused login) it counts as a live stream, which may prove to be a file once open.
    """
    if _suffix(url) not in _FILE_SUFFIXES:
        return False
    quick = replace(options, open_timeout=min(timeout, options.open_timeout))
    try:
        with HttpClient(url, quick, name="").get(start=0) as answer:
            return answer.partial or answer.length is not None
    except SourceError:
        return False


_PROBING = {
    # A program of a transport stream may move to other packet ids: follow it.
    "merge_pmt_versions": "1",
    # The first picture soon: measured with RTSP on loopback, 0.33 s instead of 1.13 s. Not
    # "nobuffer": that discards the packets that were probed, the key frame included (2.05 s).
    "fpsprobesize": "0",
}


def _stream_options(scheme: str, options: SourceOptions) -> dict[str, str]:
    """Options of FFmpeg's protocols and demuxers; those that do not apply are ignored."""
    found = {} if scheme == "ftp" else {"analyzeduration": "2000000"}
    if scheme in {"rtsp", "rtsps"}:
        found["rtsp_transport"] = options.rtsp_transport
    if scheme in TLS_SCHEMES:
        found |= options.tls.ffmpeg_options()
    if scheme == "udp":
        found["overrun_nonfatal"] = "1"  # a late reader is no error
    if scheme in {"rtsp", "rtsps", "udp", "rtp"}:
        # A key frame is a burst of packets: the kernel's usual 200 kB lose some of it.
        found["buffer_size"] = str(4 << 20)
    return found


def _failure(
    error: av.error.FFmpegError | ValueError,
    spec: SourceSpec,
    options: SourceOptions,
    *,
    waited: float,
) -> SourceError:
    why, retry = _why(error, spec.location, options)
    # A time-out raises a different error in each protocol: the time that passed decides.
    if isinstance(error, _TIMED_OUT) or waited >= options.open_timeout:
        why, retry = f"no answer within {options.open_timeout:g} s", "soon"
    return SourceError(f"cannot open {spec.name}: {why}", retry=retry, reason=why)


def _why(
    error: av.error.FFmpegError | ValueError, url: str, options: SourceOptions
) -> tuple[str, Retry]:
    if not isinstance(error, av.error.FFmpegError):
        return "the URL holds characters that no URL may; write them as %XX", "never"
    if error.errno == errno.EINVAL:
        return reason(error), "slowly"
    for kind, why in _REFUSED.items():
        if isinstance(error, kind):
            return why, "slowly"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return reason(error), "never"
    if error.errno != errno.EIO or url.startswith("http"):
        return reason(error), "soon"
    if not _resolves(url):
        return "the name of the host is not known (DNS)", "soon"
    if (untrusted := certificate_problem(url, options.tls, options.open_timeout)) is not None:
        return untrusted, "slowly"
    return "the connection broke, or what it sends is no video (input/output error)", "soon"


def _resolves(url: str) -> bool:
    """Whether the host name is known; FFmpeg reports an unknown one like other failures."""
    try:
        host = urlsplit(url).hostname
        return host is None or bool(socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False
