"""The application: routes behind idempotency, authentication and the front door."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.versions import facestream_version
from ..web.hosts import HostNames
from .authentication import CSRF_HEADER, PLAIN_COOKIE, PUBLIC, Authentication
from .dependencies import API
from .front import FrontDoor
from .idempotency import Idempotency
from .page import entrance, looking, timeline
from .page import people as people_pages
from .page import unknown as unknown_pages
from .page.door import PageDoor
from .problems import handle_errors
from .routes import (
    access,
    audit,
    calibration,
    camera_settings,
    cameras,
    compatible,
    corrections,
    events,
    exports,
    forgetting,
    gallery,
    people,
    photos,
    pictures,
    redaction,
    sightings,
    storage,
    system,
    unknown,
)
from .routes import session as sessions
from .service import Service

PARTS: Final = (
    people,
    photos,
    pictures,
    sightings,
    corrections,
    unknown,
    gallery,
    calibration,
    forgetting,
    storage,
    redaction,
    cameras,
    camera_settings,
    events,
    exports,
    system,
    sessions,
    access,
    audit,
)
"""Modules of routes; a further part of the API is one more."""
PAGES: Final = (entrance, timeline, people_pages, unknown_pages, looking)
"""Modules of the page's routes."""
_TEXT: Final = """Who was seen by cameras and in video files, where and when, and how sure.

Keys are sent as `Authorization: Bearer …`. Errors are `application/problem+json`. A POST with the
header `Idempotency-Key` may be sent again. `Facestream-Reason` is noted in the audit log."""


def create_app(service: Service) -> ASGIApp:
    """The whole application over an open service."""
    app = create_routes(service)
    answers = Idempotency(_Counted(app, service))
    service.forgetters.append(lambda _gone: {"answers": answers.forget()})
    guarded = PageDoor(Authentication(answers, service))
    door = FrontDoor(
        guarded,
        hosts=HostNames(service.address, service.settings.server.hosts),
        settings=service.settings.server,
        open_to_all=service.is_open_to_all,
    )
    return compatible.spoken_by(door, service.settings.server.compatible)


def create_routes(service: Service | None = None) -> FastAPI:
    """The routes alone; without a service, for their document."""
    app = FastAPI(
        title="facestream",
        description=_TEXT,
        version=facestream_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{route.tags[0]}.{route.name}",
    )
    app.state.service = service
    for part in (*PARTS, *PAGES):
        routers: tuple[APIRouter, ...] = part.routers
        for router in routers:
            app.include_router(router)
    for router in () if service is None else compatible.routers(service.settings.server.compatible):
        app.include_router(router)
    app.add_api_websocket_route(f"{API}/events/socket", events.event_socket)
    handle_errors(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with how to authenticate."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer"}
        schemes["session"] = {
            "type": "apiKey",
            "in": "cookie",
            "name": PLAIN_COOKIE,
            "description": f"Changes also need {CSRF_HEADER}; behind TLS the name has the prefix "
            "__Host-.",
        }
        found["security"] = [{"key": []}, {"session": []}]
        for method, path in (*PUBLIC, ("POST", f"{API}/session")):
            if path in found["paths"]:
                found["paths"][path][method.lower()]["security"] = []
        app.openapi_schema = found
    return app.openapi_schema


class _Counted:
    """Counts requests by route and status."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        self._app = app
        self._requests = service.metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only routes of ours: a path that somebody made up is no label.
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if route != "none" else "none"
                self._requests.labels(method, route, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted)
