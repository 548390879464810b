"""What is shown of a URL: its scheme and its host, nothing else.

A login, a path and a query may each hold a password or a token, and no list of words finds them
all. Where it is not certain which part is the host, the host is hidden, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import quote, unquote

HIDDEN = "***"
NO_URL = "an address that is no URL"
PLACEHOLDER = "\U000f0000"
"""A private character that stands for a secret which is not filled in yet."""

_AUTHORITY_ENDS = re.compile(r"[/?#\\]")
_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(:\d{1,5})?")
_SHOWN_HOST = re.compile(rf"(\[[0-9A-Fa-f:.%\w]+\]|[\w.{PLACEHOLDER}-]{{1,253}})(:\d{{1,5}})?")
_SHOWN_FILE = re.compile(r"[\w. ()+-]{1,100}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*:/\S*", re.IGNORECASE)
# No file of this name is there: what the user wrote may be a URL with a mistake.
_MEANT_AS_URL = re.compile(
    r"\s*[a-z][a-z0-9+.-]*\s*:[/\\]"  # rtsp:/admin:…
    r"|\W*(rtsps?|https?|rtmp\w*|srt|udp|rtp|tcp|tls|ftp)\s*[:;/\\]"  # rtsp//admin:…
    r"|\W*\d+\.\d+\.\d+\.\d+"  # 10.0.0.5/live/…
    r"|.*:.*@"  # admin:…@door/live
    r"|.*[?&;][^/]*=",  # door/live?password=…
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class UrlParts:
    """The parts of a URL, each with its separators: joined they are the whole URL."""

    scheme: str
    user: str
    host: str
    path: str
    query: str

    @classmethod
    def split(cls, url: str) -> Self:
        """Split a URL whose password may contain ``/``, ``?``, ``#`` and ``@``.

        Where a `PLACEHOLDER` stands before an ``@``, the password ends with it.
        """
        scheme, _, rest = url.partition("://")
        host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
        at = host.find("@")
        if at < 0 or host[at - 1 : at] != PLACEHOLDER:
            # A password without escapes may reach to the last "@".
            at = rest.rfind("@") if at >= 0 or ":" in host else -1
        user, rest = rest[: at + 1], rest[at + 1 :]
        host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
        path, mark, query = rest[len(host) :].partition("?")
        return cls(f"{scheme}://", user, host, path, mark + query)


def label(url: str) -> str:
    """What is shown of a URL: scheme and host; the host as ``***`` where it is not certain.

    >>> label("rtsp://admin:1234@10.0.0.7:554/main?token=abc&stream=2")
    'rtsp://10.0.0.7'
    """
    scheme, mark, rest = url.strip().partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        return NO_URL
    return f"{scheme.lower()}://{_certain_host(rest) or HIDDEN}"


def file_label(url: str) -> str:
    """The same with the name of the file, for the URL of a recorded file.

    >>> file_label("http://me:1234@server/c0ffee/clip.mp4?token=abc")
    'http://server/…/clip.mp4'
    """
    shown, path = label(url), UrlParts.split(url.strip()).path.partition("#")[0]
    name = unquote(PurePosixPath(path).name)
    if HIDDEN in shown or not _SHOWN_FILE.fullmatch(name):
        return shown
    return f"{shown}{'/…' if path.count('/') > 1 else ''}/{name}"


def shown_source(text: str) -> str:
    """A source as the user gave it: a path as it is, of a URL (or what is meant as one) its label.

    >>> shown_source("rtsp:/admin:1234@10.0.0.7/main")
    'an address that is no URL'
    """
    return label(text) if "://" in text or _MEANT_AS_URL.match(text) else text


def without_urls(text: str) -> str:
    """The text of an error or a log line with the label in place of each URL."""
    return _IN_TEXT.sub(lambda url: label(url[0].rstrip("'\").,;:>")), text)


def _certain_host(rest: str) -> str | None:
    authority = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    if "@" in rest[len(authority) :]:
        return None  # an "@" in the path, or a password without escapes
    host = _SHOWN_HOST.fullmatch(authority.rpartition("@")[2])
    return None if host is None else host[1]


def with_quoted_credentials(url: str) -> str:
    """The URL with user and password escaped (``%XX``) so that FFmpeg finds the host.

    Only where the part before the first slash cannot be a host; else the URL is not changed.

    >>> with_quoted_credentials("rtsp://admin:a/b@10.0.0.7/main")
    'rtsp://admin:a%2Fb@10.0.0.7/main'
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _HOST.fullmatch(authority.rpartition("@")[2]) or "@" not in rest:
        return url
    userinfo, _, address = rest.rpartition("@")
    return f"{scheme}://{quote(userinfo, safe=':%')}@{address}"
