"""Requests to cameras over HTTP: login, redirects, and answers that are read as they arrive.

The login is given to the host of the URL only, after it asked for one: by digest (MD5, SHA,
SHA-256) where it offers that, else basic. Certificates are not checked, as FFmpeg does not check
them: cameras sign their own.
"""

from __future__ import annotations

import hashlib
import io
import select
import socket
import ssl
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import (
    BaseHandler,
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPHandler,
    HTTPPasswordMgrWithDefaultRealm,
    HTTPSHandler,
    Request,
    build_opener,
    parse_http_list,
    parse_keqv_list,
)

from facestream.engines.closing import Closing

from ..core.errors import Retry, SourceError
from ..core.redact import with_quoted_credentials
from .base import SourceOptions

_CHECK_EVERY = 0.1  # seconds between two checks whether a silent connection was halted
_CHUNK = 1 << 16
_HASHES = {"MD5": hashlib.md5, "SHA": hashlib.sha1, "SHA-256": hashlib.sha256}
# Another attempt fails until somebody acts: the pauses are long.
REFUSALS = {
    401: "user or password refused",
    403: "access forbidden (403)",
    404: "not found (404); check the path",
}


class HttpAnswer(Closing):
    """An answer with status 200 whose body has not been read yet.

    Attributes:
        url: where it came from after redirects; with the login where that is for this host.
        kind: its media type in lower case; empty where it has none.
        content_type: the whole header.
    """

    def __init__(self, response: HTTPResponse, url: str, wait: _Wait, *, name: str) -> None:
        self.url = url
        self.kind = (
            response.headers.get_content_type() if "content-type" in response.headers else ""
        )
        self.content_type: str = response.headers.get("content-type", "")
        self._name = name
        self._response = response
        self._wait = wait
        self._pushed = b""

    def read(self) -> bytes:
        """The bytes that arrived, none at the end or when reading was halted.

        Raises:
            SourceError: the connection broke, or nothing arrived within the time-out.
        """
        pushed, self._pushed = self._pushed, b""
        if pushed:
            return pushed
        try:
            return self._response.read1(_CHUNK)
        except (OSError, ValueError, HTTPException) as error:
            why = f"the connection was lost: {_reason(error, self._wait.seconds, 'no data for')}"
            raise SourceError(f"{self._name}: {why}", reason=why) from None

    def peek(self) -> bytes:
        """The bytes that arrive first; they are read again."""
        self._pushed = self.read()
        return self._pushed

    def close(self) -> None:
        self._response.close()


def request(url: str, options: SourceOptions, *, name: str) -> HttpAnswer:
    """Ask for a URL, and follow redirects.

    Args:
        url: http or https, maybe with a login.
        options: its time-outs and ``halt``.
        name: of the source, for errors.

    Raises:
        SourceError: no answer, or a refusal. The message holds no credentials.
    """
    wait = _Wait(options.open_timeout, options)
    try:
        plain, login = split_login(url)
        opener = build_opener(*_handlers(plain, login, wait))
        response = opener.open(Request(plain, headers={"Accept": "*/*"}), timeout=wait.seconds)
    except HTTPError as error:
        error.close()
        why = REFUSALS.get(error.code, f"the server answers {error.code} {error.reason}".strip())
        raise _cannot_open(name, why, "slowly" if error.code in REFUSALS else "soon") from None
    except (OSError, HTTPException) as error:
        why = _reason(error, wait.seconds, "no answer within")
        raise _cannot_open(name, why, "soon") from None
    except ValueError:
        why = "the URL cannot be used; write special characters as %XX"
        raise _cannot_open(name, why, "never") from None
    wait.seconds = options.read_timeout
    final = response.geturl()
    return HttpAnswer(response, _with_login(final, plain, login), wait, name=name)


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


class _Wait:
    """How long to wait for the next bytes: ``seconds``, or until reading is halted."""

    def __init__(self, seconds: float, options: SourceOptions) -> None:
        self.seconds = seconds
        self._halt = options.halt

    def halted(self) -> bool:
        return self._halt is not None and self._halt.is_set()


class _Wire(io.RawIOBase):
    """Reads a socket; at its end when reading is halted.

    Raises:
        TimeoutError: nothing arrived for too long.
    """

    def __init__(self, channel: socket.socket, wait: _Wait) -> None:
        self._channel = channel
        # Keeps the connection open until this is closed: urllib closes the socket itself at once.
        self._file = channel.makefile("rb", buffering=0)
        self._wait = wait
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        began = time.monotonic()
        pending: Callable[[], int] = getattr(self._channel, "pending", int)  # decrypted by TLS
        while not self._wait.halted():
            if pending() or self._poll.poll(1000 * _CHECK_EVERY):
                return self._file.readinto(buffer) or 0
            if time.monotonic() - began >= self._wait.seconds:
                raise TimeoutError
        return 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Channel:
    """What ``HTTPResponse`` needs of a socket."""

    def __init__(self, channel: socket.socket, wait: _Wait) -> None:
        self._channel = channel
        self._wait = wait

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Wire(self._channel, self._wait))


class _Digest(HTTPDigestAuthHandler):
    """Answers the first challenge of a kind that it knows, once: wrong passwords lock accounts."""

    _answered = False

    def http_error_401(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        for challenge in headers.get_all("www-authenticate", []):
            scheme, _, rest = challenge.partition(" ")
            fields = parse_keqv_list([field for field in parse_http_list(rest) if field])
            known = fields.get("algorithm", "MD5").upper() in _HASHES
            stale = fields.get("stale", "").lower() == "true"
            if scheme.lower() == "digest" and known and (stale or not self._answered):
                self._answered = True
                fp.close()
                return self.retry_http_digest_auth(req, challenge)
        return None

    def get_algorithm_impls(self, algorithm: str) -> Any:
        new = _HASHES[algorithm.upper()]

        def digest(text: str) -> str:
            return new(text.encode()).hexdigest()

        return digest, lambda secret, data: digest(f"{secret}:{data}")


class _Basic(HTTPBasicAuthHandler):
    def http_error_401(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        # Not urllib's own way: it warns of a realm without quotes, and raises if basic is missing.
        offered = headers.get_all("www-authenticate", [])
        if not any(challenge.lower().startswith("basic") for challenge in offered):
            return None
        fp.close()
        return self.retry_http_basic_auth(req.full_url, req, "")


def _handlers(plain: str, login: tuple[str, str] | None, wait: _Wait) -> list[BaseHandler]:
    class Http(HTTPHandler):
        def http_open(self, req: Request) -> HTTPResponse:
            return self.do_open(_listening(HTTPConnection, wait), req)

    class Https(HTTPSHandler):
        def https_open(self, req: Request) -> HTTPResponse:
            context = ssl._create_unverified_context()  # see the module
            return self.do_open(_listening(HTTPSConnection, wait), req, context=context)

    handlers: list[BaseHandler] = [Http(), Https()]
    if login is not None:
        passwords = HTTPPasswordMgrWithDefaultRealm()
        # urllib compares host and port of each request with these, also after a redirect.
        passwords.add_password(
            None, urlunsplit(urlsplit(plain)._replace(path="/", query="")), *login
        )
        handlers += [_Digest(passwords), _Basic(passwords)]
    return handlers


def _listening(kind: type[HTTPConnection], wait: _Wait) -> Any:
    """Makes connections whose answers are read through `_Wire`."""

    def make(host: str, **options: Any) -> HTTPConnection:
        connection = kind(host, **options)

        def answer(channel: socket.socket, **options: Any) -> HTTPResponse:
            return HTTPResponse(_Channel(channel, wait), **options)  # type: ignore[arg-type]

        connection.response_class = answer  # type: ignore[assignment]
        return connection

    return make


def _with_login(final: str, asked: str, login: tuple[str, str] | None) -> str:
    """The final URL; with the login where its host is the one that was asked."""
    at, before = urlsplit(final), urlsplit(asked)
    if login is None or (at.scheme, at.netloc) != (before.scheme, before.netloc):
        return final
    user, password = (quote(part, safe="") for part in login)
    return urlunsplit(at._replace(netloc=f"{user}:{password}@{at.netloc}"))


def _cannot_open(name: str, why: str, retry: Retry) -> SourceError:
    return SourceError(f"cannot open {name}: {why}", retry=retry, reason=why)


def _reason(error: BaseException, seconds: float, waited: str) -> str:
    """What was wrong with a connection, without its address."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"{waited} {seconds:g} s"
    if isinstance(error, socket.gaierror):
        return "the name of the host is not known (DNS)"
    if isinstance(error, HTTPException):
        return f"the answer is no HTTP ({type(error).__name__})"
    text = str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)
    return (text[:1].lower() + text[1:]) or type(error).__name__
