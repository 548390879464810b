"""Which opener serves a source: the built-in ones, and those of other packages.

Another package registers a source as an entry point of the group ``facestream.sources``; its name
is the scheme of the URLs that it serves, its object an opener (a class like `BaseSource` is one).
``docs/extending.md`` shows one.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import cast

from ..core.errors import SourceError
from .base import SourceOpener

GROUP = "facestream.sources"
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
    return None if scheme in _FFMPEG_SCHEMES else _registered(scheme)


@cache
def _registered(scheme: str) -> SourceOpener | None:
    for entry in entry_points(group=GROUP, name=scheme):
        problem = f"the source of {scheme}:// ({entry.value})"
        try:
            opener = entry.load()
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise SourceError(f"{problem} cannot be loaded: {why}", retry="never") from error
        if not callable(opener):
            raise SourceError(f"{problem} is no callable", retry="never")
        return cast("SourceOpener", opener)
    return None
