"""What every request passes first: Host, size and time of its body, headers of the answer, errors.

Written against ASGI itself: what is refused here is refused before its body is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.config import ServerSettings
from ..web.asgi import CountedBody, TooLargeError
from ..web.headers import HEADERS
from ..web.hosts import HostNames
from .problems import RequestRefused, internal_error

HSTS: Final = "max-age=31536000"
_LOCAL_HOST: Final = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?")
_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_DRAINED_BYTES: Final = 1 << 16
_DRAINED_SECONDS: Final = 1.0


class FrontDoor:
    """Passes on what may be answered, and makes a problem of whatever goes wrong.

    Args:
        app: answers requests.
        hosts: names that the Host header may have.
        settings: limits.
        open_to_all: whether nobody needs a key, asked at each request: then only requests that come
            from this machine itself, by a name of it, are answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: HostNames,
        settings: ServerSettings,
        open_to_all: Callable[[], Awaitable[bool]],
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._settings = settings
        self._open = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, dropped = False, list[Exception]()
        state = scope.setdefault("state", {})
        notes: list[asyncio.Future[None]] = state.setdefault("notes", [])

        async def replaced(message: Message) -> None:
            """What became of a request whose body did not come is that, whatever was made of it."""
            error, body.error = body.error, None
            if error is not None and not started:
                dropped.append(error)
                await _answer(error, self._most(scope), scope)(scope, receive, guarded)
            if not dropped:
                await guarded(message)

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                for note in notes:  # nothing is told that the audit log does not know
                    await note
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        body = _TimedBody(CountedBody(receive, self._most(scope)), self._settings.upload_timeout)
        try:
            await self._check(scope)
            await self._app(scope, body, replaced)
        except Exception as error:
            if started:
                raise
            notes.clear()
            read = await body.drain(Headers(scope=scope).get("content-length", ""))
            await _answer(error, self._most(scope), scope, read=read)(scope, receive, guarded)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._check(scope)
            await self._app(scope, receive, send)
        except RequestRefused as refused:
            await receive()  # the request to connect
            await send({"type": "websocket.close", "code": 1008, "reason": refused.detail[:120]})

    async def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        if (wrong := self._hosts.problem(host)) is not None:
            raise RequestRefused(400, wrong)
        is_open = scope.setdefault("state", {})["open"] = await self._open()
        if is_open:
            if _LOCAL_HOST.fullmatch((host or "").lower()) is None or not _from_here(scope):
                raise RequestRefused(403, NEEDS_KEY)
            if any(name in headers for name in _PROXIED):
                raise RequestRefused(403, NEEDS_KEY)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most(scope):
            raise TooLargeError

    def _most(self, scope: Scope) -> int:
        kind = Headers(scope=scope).get("content-type", "")
        if scope["type"] == "http" and kind.lower().startswith("multipart/form-data"):
            return int(self._settings.max_upload_megabytes * 1e6)
        return self._settings.max_request_bytes


NEEDS_KEY: Final = (
    "without a key only requests from this machine, to localhost, are answered; make one with "
    "'facestream serve key add NAME'"
)


class _TimedBody:
    """Receives a body within a number of seconds; ``error``: why it did not come."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._until = asyncio.get_running_loop().time() + seconds
        self._more = True
        self.error: Exception | None = None

    async def __call__(self) -> Message:
        try:
            return await self._next()
        except (RequestRefused, TooLargeError) as error:
            self.error = error
            raise

    async def drain(self, length: str) -> bool:
        """Read what is left of a small body, ``length`` as declared; whether none is left.

        To close a connection with bytes unread resets it, and the client may never see the answer.
        """
        if self.error is None and length.isdecimal() and int(length) <= _DRAINED_BYTES:
            with suppress(TimeoutError, RequestRefused, TooLargeError):
                async with asyncio.timeout(_DRAINED_SECONDS):
                    while self._more:
                        await self._next()
        return not self._more

    async def _next(self) -> Message:
        if not self._more:
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError as error:
            raise RequestRefused(
                408, "the body of the request did not come in time", Connection="close"
            ) from error
        self._more = message.get("more_body", False)
        return message


def _from_here(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _answer(error: Exception, most: int, scope: Scope, *, read: bool = False) -> ASGIApp:
    if isinstance(error, RequestRefused):
        refused = error
    elif isinstance(error, TooLargeError):
        detail = f"the request is larger than {most} bytes"
        refused = RequestRefused(413, detail, Connection="close")
    else:
        return internal_error(error, what=f"{scope['method']} {scope['path']}")
    if scope["method"] in _BODY_METHODS and not read:
        # The rest of the body is not read: the connection cannot be used again.
        refused.headers.setdefault("Connection", "close")
    return refused.response()
