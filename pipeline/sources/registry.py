"""Which opener serves a source: the built-in ones, and those of other packages.

Another package registers an opener (such as a subclass of `BaseSource`) as an entry point of the
group ``facestream.sources``, named after the scheme of its URLs; see ``docs/extending.md``.
"""

from __future__ import annotations

from functools import partial

from ..core.errors import SourceError
from ..core.registry import Registry
from .base import Source, SourceOpener, SourceOptions, SourceSpec

SOURCES: Registry[[SourceSpec, SourceOptions], Source] = Registry(
    "source", "facestream.sources", error=partial(SourceError, retry="never")
)
"""Openers of other packages, by scheme."""

# What FFmpeg serves; entry points are not searched for these.
_FFMPEG_SCHEMES = frozenset(
    {
        *("file", "ftp", "http", "https", "mms", "mmsh", "mmst", "rist", "rtmp", "rtmpe", "rtmps"),
        *("rtmpt", "rtmpte", "rtmpts", "rtp", "rtsp", "rtsps", "sctp", "sftp", "srt", "srtp"),
        *("tcp", "tls", "udp", "unix"),
    }
)


def find_opener(url: str) -> SourceOpener | None:
    """The opener that another package registers for the scheme of a URL; None: FFmpeg opens it.

    Raises:
        SourceError: the entry point cannot be loaded.
    """
    scheme = url.partition("://")[0].lower()
    return SOURCES.load(scheme) if scheme not in _FFMPEG_SCHEMES and scheme in SOURCES else None
