"""Secrets in URLs: passwords and secret parameters are never shown.

Cameras' passwords are often written without escapes: where the end of one is not certain, too much
is hidden rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

HIDDEN = "***"

# Words in the names of parameters whose values are secrets.
_SECRET = re.compile(r"pass|pwd|token|secret|key|auth|sig|login|cred", re.IGNORECASE)
_LOGIN = re.compile(rf"{_SECRET.pattern}|user", re.IGNORECASE)
_AUTHORITY_ENDS = re.compile(r"[/?#]")
_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(:\d{1,5})?")

Mask = Callable[[str], str]


def _stars(text: str) -> str:
    return HIDDEN if text else ""


@dataclass(frozen=True, slots=True)
class UrlParts:
    """The parts of a URL, each with its separators: joined they are the whole URL."""

    scheme: str
    user: str
    host: str
    path: str
    query: str

    @classmethod
    def split(cls, url: str, *, placeholder: str | None = None) -> Self:
        """Split a URL whose password may contain ``/``, ``?``, ``#`` and ``@``.

        Args:
            url: with a scheme.
            placeholder: a character that stands for an escaped secret: the password ends with it.
        """
        scheme, _, rest = url.partition("://")
        host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
        at = host.find("@")
        if at < 0 or host[at - 1 : at] != placeholder:
            # A password without escapes may reach to the last "@".
            at = rest.rfind("@") if at >= 0 or ":" in host else -1
        user, rest = rest[: at + 1], rest[at + 1 :]
        host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
        path, mark, query = rest[len(host) :].partition("?")
        return cls(f"{scheme}://", user, host, path, mark + query)

    def redacted(self, mask: Mask = _stars) -> str:
        """The URL with its user; the password and secret parameters are masked.

        A user without a password is an access token: it is masked as well.
        """
        user = self.user
        if user:
            name, colon, password = user[:-1].partition(":")
            user = f"{name}:{mask(password)}@" if colon else f"{mask(name)}@"
        return self.scheme + user + self.host + self.parameters(_SECRET, mask)

    def parameters(self, words: re.Pattern[str], mask: Mask) -> str:
        """The path and query; the values of parameters with one of these words are masked."""
        # Some cameras take them in the path: /user=admin&password=1234&channel=1
        path = re.split(r"([/&;#])", self.path)
        # In a query only "&" ends a value: without escapes it may contain all else.
        query = re.split(r"(&)", self.query)
        return "".join(_mask_value(part, words, mask) for part in (*path, *query))


def _mask_value(parameter: str, words: re.Pattern[str], mask: Mask) -> str:
    """``name=value`` with the value masked where the name, or one within the value, is secret."""
    pieces = parameter.split("=")
    for count, name in enumerate(pieces[:-1], 1):
        if words.search(unquote(name)):
            return f"{'='.join(pieces[:count])}={mask('='.join(pieces[count:]))}"
    return parameter


def without_credentials(url: str) -> str:
    """The URL without user and password; the values of parameters for login are masked.

    >>> without_credentials("rtsp://admin:1234@10.0.0.7:554/main?token=abc&stream=2")
    'rtsp://10.0.0.7:554/main?token=***&stream=2'
    """
    parts = UrlParts.split(url)
    return parts.scheme.lower() + parts.host + parts.parameters(_LOGIN, _stars)


def with_quoted_credentials(url: str) -> str:
    """The URL with user and password escaped (``%XX``) so that FFmpeg finds the host.

    Only where the part before the first slash cannot be a host; else the URL is not changed.

    >>> with_quoted_credentials("rtsp://admin:a/b@10.0.0.7/main")
    'rtsp://admin:a%2Fb@10.0.0.7/main'
    """
    scheme, _, rest = url.partition("://")
    authority = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    if _HOST.fullmatch(authority.rpartition("@")[2]) or "@" not in rest:
        return url
    userinfo, _, address = rest.rpartition("@")
    return f"{scheme}://{quote(userinfo, safe=':%')}@{address}"
