"""Logins over HTTP and RTSP: digest or basic, for the origin of the user's URL alone."""

from __future__ import annotations

import hashlib
from email.message import Message
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import (
    BaseHandler,
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgr,
    Request,
    parse_http_list,
    parse_keqv_list,
)

from ..core.redact import with_quoted_credentials
from .reach import Origin

_HASHES = {"MD5": hashlib.md5, "SHA": hashlib.sha1, "SHA-256": hashlib.sha256}


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its login and its fragment, and user and password.

    Raises:
        ValueError: it is not a URL.
    """
    parts = urlsplit(with_quoted_credentials(url))
    host = parts.netloc.rpartition("@")[2]
    plain = urlunsplit(parts._replace(netloc=host, fragment=""))
    if parts.username is None:
        return plain, None
    return plain, (unquote(parts.username), unquote(parts.password or ""))


def login_handlers(plain: str, login: tuple[str, str] | None) -> list[BaseHandler]:
    """Handlers that answer a server's question for the login of this URL."""
    if login is None:
        return []
    passwords = OwnLogin(Origin.of(plain), login)
    return [DigestLogin(passwords), _Basic(passwords)]


class OwnLogin(HTTPPasswordMgr):
    """Gives the login to its own origin only, also after a redirect."""

    def __init__(self, origin: Origin, login: tuple[str, str]) -> None:
        super().__init__()
        self._origin = origin
        self._login = login

    def find_user_password(self, realm: Any, authuri: Any) -> Any:
        """The login, or nothing for another origin."""
        return self._login if Origin.of(str(authuri)) == self._origin else (None, None)


class DigestLogin(HTTPDigestAuthHandler):
    """Answers the first challenge of a kind that it knows, once: wrong passwords lock accounts."""

    _answered = False

    def http_error_401(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> Any:
        for challenge in headers.get_all("www-authenticate", []):
            fields = known_digest(challenge)
            stale = fields is not None and fields.get("stale", "").lower() == "true"
            if fields is not None and (stale or not self._answered):
                self._answered = True
                fp.close()
                return self.retry_http_digest_auth(req, challenge)
        return None

    def get_algorithm_impls(self, algorithm: str) -> Any:
        new = _HASHES[algorithm.upper()]

        def digest(text: str) -> str:
            return new(text.encode()).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


def known_digest(challenge: str) -> dict[str, str] | None:
    """The fields of a digest challenge that can be answered, else None."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() != "digest":
        return None
    # The library raises IndexError where nothing follows the sign.
    named = [field for field in parse_http_list(rest) if field.partition("=")[2]]
    fields = parse_keqv_list(named)
    known = {"realm", "nonce"} <= fields.keys() and fields.get("algorithm", "MD5").upper()
    return fields if known in _HASHES else None


class _Basic(HTTPBasicAuthHandler):
    def http_error_401(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message
    ) -> Any:
        # Not urllib's own way: it warns of a realm without quotes, and raises if basic is missing.
        offered = headers.get_all("www-authenticate", [])
        if not any(challenge.lower().startswith("basic") for challenge in offered):
            return None
        fp.close()
        return self.retry_http_basic_auth(req.full_url, req, "")
