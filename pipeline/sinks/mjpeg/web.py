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
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from .views import LiveView

BOUNDARY = "frame"
STREAMS_AT_ONCE = 4
"""Browsers open six connections to a host; with more sources the page shows snapshots."""
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's own script and style, and pictures of this server; nothing else."""


def web_app(views: Mapping[str, LiveView]) -> FastAPI:
    """The application, without its guard; ``views`` by label may grow meanwhile."""
    app = FastAPI(title="facestream", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def index(request: Request) -> HTMLResponse:
        token, nonce = request.query_params.get("token"), secrets.token_urlsafe(16)
        page = _page(sorted(views.values(), key=lambda view: view.name), token=token)
        return HTMLResponse(
            page.replace("__NONCE__", nonce),
            headers={"Content-Security-Policy": POLICY.format(nonce)},
        )

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
