"""The web application of the live picture: a page, and a stream and a snapshot of each source."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .views import LiveView

BOUNDARY = "frame"
STREAMS_AT_ONCE = 4
"""Browsers open six connections to a host; with more sources the page shows snapshots."""
HEADERS = {
    "Cache-Control": "no-store",
    # A page of another site must not show our pictures, nor learn the token from a link.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def web_app(views: Mapping[str, LiveView]) -> FastAPI:
    """The application, without its `Guard`; ``views`` by label may grow meanwhile."""
    app = FastAPI(title="facestream", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    async def index(request: Request) -> str:
        token = request.query_params.get("token")
        return _page(sorted(views.values(), key=lambda view: view.name), token=token)

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
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(_parts(_found(views, label)), media_type=kind)

    return app


class Guard:
    """Lets requests through that may see the pictures.

    Args:
        app: answers them.
        token: what every request must present; None: nothing.
        hosts: accepted names in the Host header; None: any. Without a token this keeps a page of
            another site from reading ours through a name of its own (DNS rebinding).
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
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        request = Request(scope)
        answer: ASGIApp = self._app
        if self._hosts is not None and _host(request.headers.get("host", "")) not in self._hosts:
            answer = JSONResponse({"detail": "wrong host"}, 400)
        elif self._token is not None and not self._allowed(request):
            detail = "a token is needed: ?token=… or Authorization: Bearer …"
            answer = JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, with_headers)

    def _allowed(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.query_params.get("token", "")
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def _page(views: Sequence[LiveView], *, token: str | None) -> str:
    """The page with all sources; its links carry the token with which it was requested."""
    query = "" if token is None else f"?token={quote(token, safe='')}"
    streams = len(views) <= STREAMS_AT_ONCE
    body = "\n".join(_figure(view, query, streams=streams) for view in views)
    main = f"<main>\n{body}\n</main>" if views else "<p>No source has started yet.</p>"
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return page.replace("__BODY__", main).replace("__QUERY__", query)


def _figure(view: LiveView, query: str, *, streams: bool) -> str:
    label, name = quote(view.label, safe=""), escape(view.name)
    stream, snapshot = f"{label}.mjpeg{query}", f"{label}.jpg"
    source = f'src="{stream}"' if streams else f'src="{snapshot}{query}" data-snapshot="{snapshot}"'
    return (
        f'<a href="{stream}"><figure id="source-{escape(view.label)}">'
        f'<img {source} alt="{name}"><figcaption><i class="{view.state or "live"}"></i>{name}'
        f"<small>{view.state or ''}</small></figcaption></figure></a>"
    )


async def _parts(view: LiveView) -> AsyncIterator[bytes]:
    async for data in view.watch():
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        yield head.encode() + data + b"\r\n"


def _found(views: Mapping[str, LiveView], label: str) -> LiveView:
    if (view := views.get(label)) is None:
        raise HTTPException(404, "no such source")
    return view


def _host(header: str) -> str:
    """The Host header without its port."""
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    return host.strip("[]").lower()
