"""What every ASGI application is behind: Host header, token, size of requests, headers."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .headers import HEADERS
from .hosts import HostNames


class Guard:
    """Passes on the requests that may be answered, and adds `HEADERS` to every answer.

    Args:
        app: answers them.
        hosts: names that the Host header may have.
        token: what every request must present; None: nothing.
        request_bytes: largest body of a request.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: HostNames, token: str | None, request_bytes: int
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token
        self._most = request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(Request(scope)) or self._app
        try:
            await answer(scope, CountedBody(receive, self._most), with_headers)
        except TooLargeError:
            if started:
                raise
            await self._too_large()(scope, receive, with_headers)

    def _refusal(self, request: Request) -> ASGIApp | None:
        """The answer to a request that is not passed on."""
        if (problem := self._hosts.problem(request.headers.get("host"))) is not None:
            return JSONResponse({"detail": problem}, 400)
        if self._token is not None and not self._allowed(request, self._token):
            detail = "a token is needed: ?token=… or Authorization: Bearer …"
            return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        length = request.headers.get("content-length", "")
        return self._too_large() if length.isdecimal() and int(length) > self._most else None

    def _allowed(self, request: Request, token: str) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.query_params.get("token", "")
        return secrets.compare_digest(given.encode(), token.encode())

    def _too_large(self) -> JSONResponse:
        detail = f"the request is larger than {self._most} bytes"
        return JSONResponse({"detail": detail}, 413, {"Connection": "close"})


class TooLargeError(Exception):
    """The body of a request is larger than allowed."""


class CountedBody:
    """Receives a body up to a number of bytes."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._left = most

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise TooLargeError
        return message
