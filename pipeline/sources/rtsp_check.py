"""Asks an RTSP server for its description before FFmpeg does.

FFmpeg follows a redirect to any host and sends the login there. Here the first answers are read:
a redirect within the same origin gives the URL that FFmpeg opens, any other is an error. On the
way a certificate that is not trusted and a refused login are found, each with its reason.
"""

from __future__ import annotations

import io
from base64 import b64encode
from email.message import Message
from http.client import HTTPException, parse_headers
from urllib.parse import quote, urljoin, urlsplit, urlunsplit
from urllib.request import Request

from ..core.errors import Retry, SourceError
from .base import SourceOptions
from .http_client import REFUSALS, reason_of
from .http_login import DigestLogin, OwnLogin, known_digest, split_login
from .http_wire import Wait, Wire
from .reach import Origin, Reach
from .tls import distrust, unusable_ca

_HOPS = 5
_LONGEST_BODY = 1 << 20


def followed(url: str, options: SourceOptions, *, name: str) -> str:
    """The URL that the server describes, with its login: the same, or where it redirects to.

    Raises:
        SourceError: the server cannot be reached, refuses, or redirects to another origin. The
            message holds no part of the URL but its host.
    """
    wait = Wait(options.open_timeout, options)
    try:
        plain, login = split_login(url)
        for _ in range(_HOPS):
            location = _described(plain, login, options, wait, name=name)
            if location is None:
                return _with_login(plain, login)
            moved = split_login(urljoin(plain, location))[0]
            if _origin(moved) != _origin(plain):
                why = "it redirects to another host, port or scheme; give that URL if it is meant"
                raise _failed(name, why, "slowly")
            plain = moved
    except (OSError, HTTPException) as error:
        why = reason_of(error, options.open_timeout, "no answer within")
        raise _failed(name, why, "slowly" if distrust(error) else "soon") from None
    except ValueError:
        why = "the URL or the server's answer cannot be used; write special characters as %XX"
        raise _failed(name, why, "slowly") from None
    raise _failed(name, "it redirects in a circle", "slowly")


def _described(
    plain: str, login: tuple[str, str] | None, options: SourceOptions, wait: Wait, *, name: str
) -> str | None:
    """Where the server redirects to, None: it describes this URL itself."""
    with _Dialogue(plain, login, options, wait) as dialogue:
        for method in ("OPTIONS", "DESCRIBE"):
            status, headers = dialogue.ask(method)
            if 300 <= status < 400:
                return str(headers.get("location", ""))
            if status != 200:
                why = REFUSALS.get(status, f"the server answers {status}")
                raise _failed(name, why, "slowly" if status in REFUSALS else "soon")
    return None


class _Dialogue:
    """One connection to a server, within a ``with`` block."""

    def __init__(
        self, url: str, login: tuple[str, str] | None, options: SourceOptions, wait: Wait
    ) -> None:
        self._url = url
        self._login = login
        self._authorization: str | None = None
        self._number = 0
        origin = _origin(url)
        channel = Reach(options.networks).connect((origin.host, origin.port), wait.left)
        try:
            if origin.scheme == "rtsps":
                try:
                    context = options.tls.context()
                except OSError as error:
                    raise unusable_ca(options.tls, error) from None
                channel = context.wrap_socket(channel, server_hostname=origin.host)
            self._channel = channel
            self._answers = io.BufferedReader(Wire(channel, wait))
        except BaseException:
            channel.close()
            raise

    def __enter__(self) -> _Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._channel.close()

    def ask(self, method: str) -> tuple[int, Message]:
        """Status and headers of the answer; logs in when the server asks for that."""
        status, headers = self._send(method)
        if status == 401 and self._login is not None:
            answered = self._authorization
            self._authorization = self._answer_to(headers, method)
            stale = "stale=true" in str(headers).lower()
            if self._authorization is not None and (answered is None or stale):
                return self._send(method)
        return status, headers

    def _send(self, method: str) -> tuple[int, Message]:
        self._number += 1
        lines = [f"{method} {self._url} RTSP/1.0", f"CSeq: {self._number}"]
        lines += ["User-Agent: facestream"]
        lines += ["Accept: application/sdp"] if method == "DESCRIBE" else []
        if self._authorization is not None:
            lines.append(f"Authorization: {self._authorization}")
        self._channel.sendall("\r\n".join([*lines, "", ""]).encode())
        version, _, rest = self._answers.readline(1 << 12).decode("latin-1").partition(" ")
        if not version.startswith("RTSP/") or not rest[:3].isdigit():
            raise HTTPException("no RTSP")
        headers = parse_headers(self._answers)
        length = int(headers.get("content-length", 0))
        self._answers.read(min(max(0, length), _LONGEST_BODY))
        return int(rest[:3]), headers

    def _answer_to(self, headers: Message, method: str) -> str | None:
        """The header that answers the first challenge of a known kind; digest before basic."""
        assert self._login is not None
        challenges = headers.get_all("www-authenticate", [])
        for fields in filter(None, map(known_digest, challenges)):
            request = Request("http://camera/", method=method)  # RTSP's digest is HTTP's
            request.selector = self._url
            digest = DigestLogin(OwnLogin(Origin.of(request.full_url), self._login))
            return f"Digest {digest.get_authorization(request, fields)}"
        if any(challenge.lower().startswith("basic") for challenge in challenges):
            return f"Basic {b64encode(':'.join(self._login).encode()).decode()}"
        return None


def _origin(url: str) -> Origin:
    return Origin.of(url)


def _with_login(plain: str, login: tuple[str, str] | None) -> str:
    if login is None:
        return plain
    parts = urlsplit(plain)
    user, password = (quote(part, safe="") for part in login)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))


def _failed(name: str, why: str, retry: Retry) -> SourceError:
    return SourceError(f"cannot open {name}: {why}", retry=retry, reason=why)
