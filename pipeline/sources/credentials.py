"""User, password and other secrets in URLs: never shown, and written so that FFmpeg reads them."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from ..core.config.secret_names import LOGIN_WORDS

_SECRET = re.compile(LOGIN_WORDS, re.IGNORECASE)
# Some cameras take them in the path: /user=admin&password=1234&channel=1
_IN_PATH = re.compile(rf"([^/&;=]*(?:{LOGIN_WORDS})[^/&;=]*=)[^/&;]*", re.IGNORECASE)
_HOST = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(:\d{1,5})?")
_AUTHORITY_ENDS = re.compile(r"[/?#]")


def without_credentials(url: str) -> str:
    """The URL without user and password, and with the values of secret parameters hidden.

    >>> without_credentials("rtsp://admin:1234@10.0.0.7:554/main?token=abc&stream=2")
    'rtsp://10.0.0.7:554/main?token=***&stream=2'
    """
    scheme, _, rest = url.partition("://")
    host = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    if ":" in host or "@" in host:
        # A password with an unescaped slash, "@" or the like may reach to the last "@".
        rest = rest.rpartition("@")[2]
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return f"{scheme}://***"
    shown = [(name, "***" if _SECRET.search(name) else value) for name, value in query]
    return urlunsplit(
        (
            parts.scheme,
            parts.netloc.rpartition("@")[2],
            _IN_PATH.sub(r"\1***", parts.path),
            urlencode(shown, quote_via=quote, safe="*/:,"),
            "",
        )
    )


def with_quoted_credentials(url: str) -> str:
    """The URL with a user and password that FFmpeg can tell from the host.

    What a password may not hold in a URL is written as ``%XX``, where it is plain that it belongs
    to the password: the part before the first slash is no host.

    >>> with_quoted_credentials("rtsp://admin:a/b@10.0.0.7/main")
    'rtsp://admin:a%2Fb@10.0.0.7/main'
    """
    scheme, _, rest = url.partition("://")
    authority = _AUTHORITY_ENDS.split(rest, maxsplit=1)[0]
    if _HOST.fullmatch(authority.rpartition("@")[2]) or "@" not in rest:
        return url
    userinfo, _, address = rest.rpartition("@")
    return f"{scheme}://{quote(userinfo, safe=':%')}@{address}"
