"""The web application of the live picture: a page, and a stream and a snapshot of each source."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .page import index_page
from .views import View

BOUNDARY = "frame"
HEADERS = {
    "Cache-Control": "no-store",
    # A page of another site must not show our pictures, nor learn the token from a link.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def web_app(views: Mapping[str, View]) -> FastAPI:
    """The application, without its `Guard`.

    Args:
        views: by label; may grow meanwhile.
    """
    app = FastAPI(title="facestream", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    async def index(request: Request) -> str:
        given = request.query_params.get("token")
        return index_page(sorted(views.values(), key=lambda v: v.name), token=given)

    @app.get("/sources.json")
    async def sources() -> list[dict[str, Any]]:
        return [{"name": v.name, "label": v.label, "state": v.state} for v in list(views.values())]

    @app.get("/{label}.jpg")
    async def snapshot(label: str) -> Response:
        data = await asyncio.to_thread(_found(views, label).jpeg)
        if data is None:
            raise HTTPException(503, "no picture yet", {"Retry-After": "1"})
        return Response(data, media_type="image/jpeg")

    @app.get("/{label}.mjpeg")
    async def stream(label: str) -> StreamingResponse:
        parts = _parts(_found(views, label))
        return StreamingResponse(
            parts, media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )

    return app


class Guard:
    """Lets requests through that may see the pictures.

    Args:
        app: what they are for.
        token: what every request must present; None: nothing.
        hosts: names by which a browser may call us; None: any. Without a token this keeps a page
            of another site from reading ours under a name of its own.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        answer: ASGIApp = self._app
        if self._hosts is not None and _host(headers.get(b"host", "")) not in self._hosts:
            answer = JSONResponse({"detail": "wrong host"}, 400)
        elif self._token is not None and not self._allowed(scope, headers):
            detail = "a token is needed: ?token=… or Authorization: Bearer …"
            answer = JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, with_headers)

    def _allowed(self, scope: Scope, headers: Mapping[bytes, str]) -> bool:
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            query = parse_qs(scope["query_string"].decode("latin-1"))
            given = query.get("token", [""])[0]
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


async def _parts(view: View) -> AsyncIterator[bytes]:
    async for data in view.watch():
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        yield head.encode() + data + b"\r\n"


def _found(views: Mapping[str, View], label: str) -> View:
    view = views.get(label)
    if view is None:
        raise HTTPException(404, "no such source")
    return view


def _host(header: str) -> str:
    """The Host header without its port."""
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    return host.strip("[]").lower()
