"""What is refused on the page is answered as a page, or by the way to the log-in."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problems import MEDIA_TYPE, RequestRefused
from .rendering import render

LOG_IN_PAGE: Final = "/log-in"
_NOT_PAGES: Final = (
    *("/api/", "/v1/", "/static/"),
    *("/metrics", "/healthz", "/readyz", "/openapi.json"),
)


class PageDoor:
    """Answers browsers that open a page with pages; all others get problems as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _opens_page(scope):
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, _Converted(scope, receive, send))
        except RequestRefused as refused:
            await answer(scope, refused.status, refused.detail)(scope, receive, send)


class _Converted:
    """Sends problems as pages."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            if kind == MEDIA_TYPE.encode():
                self._status = message["status"]
                return
        elif self._status is not None:
            if not message.get("more_body", False):
                text = _detail(message.get("body", b""))
                page = answer(self._scope, self._status, text)
                await page(self._scope, self._receive, self._send)
            return
        await self._send(message)


def answer(scope: Scope, status: int, detail: str) -> Response:
    """The page of a refusal; who is not logged in is sent to the log-in."""
    request = Request(scope)
    if status == 401:
        back = quote(request.url.path, safe="/")
        return RedirectResponse(f"{LOG_IN_PAGE}?next={back}", 303)
    return render(request, "error.html", status=status, code=status, detail=detail, active="")


def _opens_page(scope: Scope) -> bool:
    if scope["path"].startswith(_NOT_PAGES) or scope["method"] not in ("GET", "HEAD"):
        return False
    request = Request(scope)
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and request.headers.get("hx-request") != "true"


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body).get("detail", ""))
    except ValueError:
        return ""
