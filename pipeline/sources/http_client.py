"""Requests to cameras over HTTP: login, redirects, and answers that are read as they arrive.

The login is given to the origin of the URL only, after it asked for one: by digest (MD5, SHA,
SHA-256) where it offers that, else basic. Certificates are checked; see ``tls``. Redirects do not
lead closer to this machine; see ``reach``.
"""

from __future__ import annotations

import socket
import ssl
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPMessage,
    HTTPResponse,
    HTTPSConnection,
    RemoteDisconnected,
    responses,
)
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from facestream.engines.closing import Closing

from ..core.errors import Retry, SourceError
from .base import SourceOptions
from .http_login import login_handlers, split_login
from .http_wire import Wait, WireSocket
from .reach import Origin, Reach, ReachError
from .tls import distrust, unusable_ca

_CHUNK = 1 << 16
# Another attempt fails until somebody acts: the pauses are long.
REFUSALS = {
    401: "user or password refused",
    403: "access forbidden (403)",
    404: "not found (404); check the path",
}


class HttpAnswer(Closing):
    """An answer with status 200 or 206 whose body has not been read yet.

    Attributes:
        url: where it came from after redirects, without a login.
        kind: its media type in lower case; empty where it has none.
        content_type: the whole header, as far as it can be printed.
        length: bytes of the body as announced; None where it is not.
        partial: it begins where the request said.
        ranges: the server sends parts.
    """

    def __init__(self, response: HTTPResponse, wait: Wait, *, name: str) -> None:
        headers = response.headers
        self.url: str = split_login(response.geturl())[0]
        self.kind = headers.get_content_type() if "content-type" in headers else ""
        self.content_type = "".join(filter(str.isprintable, headers.get("content-type", "")))
        self.length: int | None = response.length
        self.partial = response.status == 206
        self.ranges = self.partial or headers.get("accept-ranges", "").lower() == "bytes"
        self._name = name
        self._response = response
        self._wait = wait
        self._pushed = b""

    def read(self, size: int = _CHUNK) -> bytes:
        """At most so many bytes that arrived; none at the end or when reading was halted.

        Raises:
            SourceError: the connection broke, or nothing arrived within the time-out.
        """
        pushed, self._pushed = self._pushed[:size], self._pushed[size:]
        if pushed:
            return pushed
        try:
            return self._response.read1(size)
        except (OSError, ValueError, HTTPException) as error:
            why = f"the connection was lost: {reason_of(error, self._wait.seconds, 'no data for')}"
            raise SourceError(f"{self._name}: {why}", reason=why) from None

    @property
    def halted(self) -> bool:
        """Reading was halted."""
        return self._wait.halted()

    def peek(self) -> bytes:
        """The bytes that arrive first; they are read again."""
        self._pushed = self.read()
        return self._pushed

    def close(self) -> None:
        self._response.close()


class HttpClient:
    """The requests of one source: they share its login, its certificates and its limits.

    Args:
        url: http or https, maybe with a login.
        options: its time-outs, ``tls`` and ``halt``.
        name: of the source, for errors.
    """

    def __init__(self, url: str, options: SourceOptions, *, name: str) -> None:
        self._url = url
        self._options = options
        self._name = name
        self._reach = Reach(options.networks)

    def get(
        self, url: str | None = None, *, start: int | None = None, timeout: float | None = None
    ) -> HttpAnswer:
        """Ask for the URL, or one that its answers named; follow redirects.

        Args:
            start: number of the first byte; the answer says whether the server heeds it.
            timeout: seconds until it fails; by default ``open_timeout``.

        Raises:
            SourceError: no answer, or a refusal. The message holds no part of the URL but its host.
        """
        wait = Wait(timeout or self._options.open_timeout, self._options)
        headers = {"Accept": "*/*", "User-Agent": "facestream"}
        if start is not None:
            headers["Range"] = f"bytes={start}-"
        try:
            plain, login = split_login(self._url)
            asked = plain if url is None else split_login(url)[0]
            if url is not None:
                self._reach.allow(asked, origin=plain)
            Origin.of(asked)
            opener = self._opener(plain, login, wait)
            response = opener.open(Request(asked, headers=headers), timeout=wait.seconds)
        except HTTPError as error:
            error.close()
            raise self._failed(_answered(error.code), _retry(error.code)) from None
        except (OSError, HTTPException) as error:
            why = reason_of(error, wait.seconds, "no answer within")
            raise self._failed(why, "slowly" if _needs_somebody(error) else "soon") from None
        except ValueError:
            why = "the URL cannot be used; write special characters as %XX"
            raise self._failed(why, "never") from None
        wait.seconds, wait.until = self._options.read_timeout, None
        return HttpAnswer(response, wait, name=self._name)

    def _opener(self, plain: str, login: tuple[str, str] | None, wait: Wait) -> OpenerDirector:
        tls, reach = self._options.tls, self._reach

        class Http(HTTPHandler):
            def http_open(self, req: Request) -> HTTPResponse:
                return self.do_open(_connections(HTTPConnection, wait, reach, req), req)

        class Https(HTTPSHandler):
            def https_open(self, req: Request) -> HTTPResponse:
                try:
                    context = tls.context()
                except OSError as error:
                    raise unusable_ca(tls, error) from None
                made = _connections(HTTPSConnection, wait, reach, req)
                return self.do_open(made, req, context=context)

        class Redirect(HTTPRedirectHandler):
            def redirect_request(
                self,
                req: Request,
                fp: IO[bytes],
                code: int,
                msg: str,
                headers: HTTPMessage,
                new: str,
            ) -> Request | None:
                reach.allow(new, origin=req.full_url)
                fp.close()  # its body may have no end
                return super().redirect_request(req, fp, code, msg, headers, split_login(new)[0])

        opener = OpenerDirector()
        for handler in (
            *(ProxyHandler(), Http(), Https(), Redirect(), HTTPDefaultErrorHandler()),
            *(HTTPErrorProcessor(), *login_handlers(plain, login)),
        ):
            opener.add_handler(handler)
        return opener

    def _failed(self, why: str, retry: Retry) -> SourceError:
        return SourceError(f"cannot open {self._name}: {why}", retry=retry, reason=why)


def request(url: str, options: SourceOptions, *, name: str) -> HttpAnswer:
    """Ask once; see `HttpClient.get`."""
    return HttpClient(url, options, name=name).get()


def _connections(kind: type[HTTPConnection], wait: Wait, reach: Reach, request: Request) -> Any:
    """Makes connections within the limits whose answers are read through `Wire`.

    Raises:
        ReachError: a proxy is to connect to a place that is not allowed.
    """
    proxied = request.has_proxy() or getattr(request, "_tunnel_host", None)
    if proxied:
        reach.check_name(Origin.of(request.full_url))

    def make(host: str, **options: Any) -> HTTPConnection:
        connection = kind(host, **options)

        def answer(channel: socket.socket, **options: Any) -> HTTPResponse:
            return HTTPResponse(WireSocket(channel, wait), **options)  # type: ignore[arg-type]

        connection.response_class = answer  # type: ignore[assignment]
        if not proxied:
            connection._create_connection = reach.connect  # type: ignore[attr-defined]
        return connection

    return make


def _answered(code: int) -> str:
    if 300 <= code < 400:
        return "it redirects in a circle, or to a URL that is no HTTP"
    return REFUSALS.get(code, f"the server answers {code} {responses.get(code, '')}".strip())


def _retry(code: int) -> Retry:
    return "slowly" if code in REFUSALS or 300 <= code < 400 else "soon"


def _needs_somebody(error: BaseException) -> bool:
    """Another attempt fails until somebody acts."""
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, ReachError | ssl.SSLCertVerificationError)


def reason_of(error: BaseException, seconds: float, waited: str) -> str:
    """What was wrong with a connection, without its address."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"{waited} {seconds:g} s"
    if isinstance(error, socket.gaierror):
        return "the name of the host is not known (DNS)"
    if isinstance(error, RemoteDisconnected):
        return "the server closed the connection without an answer"
    if isinstance(error, HTTPException):
        return f"the answer is no HTTP ({type(error).__name__})"
    if (untrusted := distrust(error)) is not None:
        return untrusted
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection ({(error.reason or 'failed').replace('_', ' ').lower()})"
    text = str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)
    return (text[:1].lower() + text[1:]) or type(error).__name__
