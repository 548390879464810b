"""Who sends a request: a key, a session's cookie, or somebody at this machine."""

from __future__ import annotations

import asyncio
import ipaddress
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.keys import actor_of_key, digest
from ..access.roles import Requester
from ..access.users import actor_of_session, csrf_token
from ..storage.audit import AuditEntry
from .problems import RequestRefused
from .service import Service

SECURE_COOKIE: Final = "__Host-facestream"
PLAIN_COOKIE: Final = "facestream"
"""Of plain HTTP at this machine: browsers take no ``__Host-`` cookie without TLS."""
CSRF_HEADER: Final = "x-csrf-token"
PUBLIC: Final = frozenset({("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json")})
LOG_IN: Final = frozenset({("POST", "/api/v1/session"), ("POST", "/log-in")})
_OPEN_PAGES: Final = "/static/", "/log-in"
"""Of the page, what is shown before a log-in."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL: Final = Requester("local", "admin")
KEY_IN_FORM: Final = "key_in_form"
"""In ``scope["state"]``: the key comes in the body, and the route looks for it there."""


class Authentication:
    """Puts the actor into ``scope["state"]["actor"]``; refuses who has none and needs one."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        scope.setdefault("state", {})["actor"] = await self._actor(connection)
        await self._app(scope, receive, send)

    async def _actor(self, connection: HTTPConnection) -> Requester | None:
        scope = connection.scope
        asked = (scope.get("method", "GET"), scope["path"])
        if asked in PUBLIC or (asked[0] == "GET" and asked[1].startswith(_OPEN_PAGES)):
            return None
        if asked in LOG_IN:
            _same_site(connection)  # else another site could log a browser in as somebody else
            return None
        address = client_of(connection)
        if (seconds := self._service.failures.wait(address)) > 0:
            raise RequestRefused(
                429, "too many wrong keys or passwords", Retry_After=str(int(seconds) + 1)
            )
        actor: Requester | None = None
        if _credentials(connection):
            actor = await asyncio.to_thread(find_actor, connection, self._service)
        elif scope["state"]["open"]:
            actor = LOCAL
        elif scope["state"].get(KEY_IN_FORM):
            return None
        if actor is None:
            if _credentials(connection):
                count_failure(connection, self._service)
            raise RequestRefused(
                401,
                "a key is needed: Authorization: Bearer …, or a log-in",
                WWW_Authenticate="Bearer",
            )
        if actor.by_browser:
            _same_site(connection)
            if actor.credential and (scope["type"] == "websocket" or asked[0] not in _SAFE):
                _need_csrf(connection, actor)
        return actor


def count_failure(connection: HTTPConnection, service: Service) -> None:
    """A request had wrong credentials: count it against its address, and note it."""
    address = client_of(connection)
    service.failures.take(address)
    entry = AuditEntry("unknown", "refused", connection.scope["path"], address=address)
    service.lookups.note(entry)


def find_actor(connection: HTTPConnection, service: Service) -> Requester | None:
    """Whose credentials a request has; None for wrong ones."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    now = datetime.now(UTC)
    if scheme:
        if scheme.lower() != "bearer":
            return None
        return actor_of_key(service.sightings, digest(key.strip()), now)
    if (cookie := session_cookie(connection)) is not None:
        return actor_of_session(service.sightings, digest(cookie), now)
    return None


def still_valid(actor: Requester, service: Service) -> bool:
    """True while the actor's key or session is accepted; for streams, which last."""
    now = datetime.now(UTC)
    if not actor.credential:
        return service.open_to_all()
    if actor.by_browser:
        return actor_of_session(service.sightings, actor.credential, now) is not None
    return actor_of_key(service.sightings, actor.credential, now) is not None


def session_cookie(connection: HTTPConnection) -> str | None:
    """The cookie of a session; with TLS none that was set without."""
    secure = connection.scope["scheme"] in ("https", "wss")
    return connection.cookies.get(SECURE_COOKIE if secure else PLAIN_COOKIE)


def client_of(connection: HTTPConnection) -> str:
    """The client's address; of IPv6 the network, as one client has as many as it likes."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def _credentials(connection: HTTPConnection) -> bool:
    return "authorization" in connection.headers or session_cookie(connection) is not None


def _same_site(connection: HTTPConnection) -> None:
    """Refuse what a page of another site made a browser send."""
    headers = connection.headers
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none"):
        raise RequestRefused(403, "pages of other sites cannot use this service")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise RequestRefused(403, "pages of other sites cannot use this service")


def _need_csrf(connection: HTTPConnection, actor: Requester) -> None:
    headers = connection.headers
    if "sec-fetch-site" not in headers and "origin" not in headers:
        raise RequestRefused(403, "a change with a log-in needs Origin or Sec-Fetch-Site")
    if connection.scope["type"] == "websocket":
        return  # a browser cannot add headers to it; Origin says whose page it is
    if headers.get(CSRF_HEADER, "") != csrf_token(actor.credential):
        raise RequestRefused(403, "the header X-CSRF-Token is missing or wrong")
