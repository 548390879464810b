"""What routes need: the service, the actor with the role, a place among the examined, the audit."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlencode

from facestream.engines.errors import printable
from fastapi import APIRouter, Depends, Request, params
from starlette.requests import HTTPConnection

from ..access.roles import Requester, Role
from ..storage.audit import AuditEntry, audited
from ..storage.names import name_key
from .authentication import client_of
from .problems import Problem, RequestRefused
from .service import Service

REASON_HEADER: Final = "facestream-reason"
NAMES_IN_QUERIES: Final = frozenset({"name", "search", "cursor"})
"""Parameters that may hold the name of a person, a cursor of people among them."""
OPERATOR_FACTOR: Final = 50
API: Final = "/api/v1"
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {
        "description": "The request cannot be answered.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
    "5XX": {
        "description": "The service cannot answer.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
}


def service_of(connection: HTTPConnection) -> Service:
    """The service."""
    service: Service = connection.app.state.service
    return service


def actor_of(connection: HTTPConnection) -> Requester:
    """Who sends the request.

    Raises:
        RequestRefused: 401, nobody that is known.
    """
    actor = connection.scope.get("state", {}).get("actor")
    if not isinstance(actor, Requester):
        raise RequestRefused(401, "a key is needed", WWW_Authenticate="Bearer")
    return actor


def needs(role: Role) -> Callable[[HTTPConnection], Awaitable[None]]:
    """The dependency of routes for this role and those above it."""

    async def check(connection: HTTPConnection) -> None:
        actor = actor_of(connection)
        if not actor.may(role):
            _note(connection, entry_for(connection, "refused"))
            raise RequestRefused(403, f"this needs the role {role}; yours is {actor.role}")

    check.role = role  # type: ignore[attr-defined]  # a test reads it
    return check


async def sees_all_cameras(connection: HTTPConnection) -> None:
    """The dependency of what shows or changes sightings of any camera."""
    if actor_of(connection).cameras is not None:
        _note(connection, entry_for(connection, "refused"))
        raise RequestRefused(403, "this is not for who may see some of the cameras only")


def entry_for(connection: HTTPConnection, action: str, target: str = "") -> AuditEntry:
    """An entry of the audit log about this request."""
    query = connection.url.query
    path = connection.url.path
    return AuditEntry(
        actor_of(connection).name,
        action,
        target or (f"{path}?{_unnamed(query)}" if query else path),
        printable(connection.headers.get(REASON_HEADER, "")),
        client_of(connection),
    )


def name_in_log(name: str) -> str:
    """What the audit log has of a name: the log is never changed, and people may be forgotten. Who
    knows a name can compare its checksum."""
    return f"sha256:{hashlib.sha256(name_key(name).encode()).hexdigest()[:16]}"


def _unnamed(query: str) -> str:
    """A query without names of people."""
    return "&".join(
        urlencode([(key, name_in_log(value) if key in NAMES_IN_QUERIES else value)], safe=":")
        for key, value in parse_qsl(query, keep_blank_values=True)
    )


def action_of(request: Request) -> str:
    """What a route does, for the audit log: ``people.rename``."""
    route = request.scope["route"]
    return f"{route.tags[0]}.{route.name}"


async def looked_up(request: Request) -> None:
    """Note a look-up; the answer waits until that is on the disk, and is made meanwhile."""
    _note(request, entry_for(request, action_of(request)))


def _note(connection: HTTPConnection, entry: AuditEntry) -> None:
    notes: list[Awaitable[None]] = connection.scope["state"]["notes"]
    notes.append(asyncio.wrap_future(service_of(connection).lookups.note(entry)))


def looks(role: Role, tag: str, *more: params.Depends) -> APIRouter:
    """A router of look-ups for a role; each is noted."""
    return APIRouter(
        prefix=API,
        tags=[tag],
        dependencies=[Depends(needs(role)), *more, Depends(looked_up)],
        responses=PROBLEMS,
    )


def changes(role: Role, tag: str, *more: params.Depends) -> APIRouter:
    """A router of changes for a role; their routes use `changing`."""
    return APIRouter(
        prefix=API, tags=[tag], dependencies=[Depends(needs(role)), *more], responses=PROBLEMS
    )


@contextmanager
def changing(request: Request, target: str = "") -> Iterator[None]:
    """What this thread writes meanwhile is noted in the same transactions."""
    with audited(entry_for(request, action_of(request), target)):
        yield


def note_change(request: Request, target: str) -> None:
    """Note a change that is not one of the database."""
    with changing(request, target), service_of(request).sightings.writing():
        pass  # the transaction writes the entry alone


async def place_to_examine(request: Request) -> AsyncIterator[None]:
    """A place among the requests whose pictures are examined, within the actor's rate."""
    service, actor = service_of(request), actor_of(request)
    if actor.role != "admin":
        factor = OPERATOR_FACTOR if actor.may("operator") else 1
        seconds = service.identifications.take(actor.name, factor=factor)
        if seconds > 0:
            raise RequestRefused(
                429, "too many pictures in a minute", Retry_After=str(int(seconds) + 1)
            )
    async with service.work.place():
        yield


async def _the_service(connection: HTTPConnection) -> Service:
    return service_of(connection)  # not in a thread, as a plain function would be


async def _the_actor(connection: HTTPConnection) -> Requester:
    return actor_of(connection)


TheService = Annotated[Service, Depends(_the_service)]
TheActor = Annotated[Requester, Depends(_the_actor)]
Examined = Depends(place_to_examine)
WholeHouse: Final[params.Depends] = Depends(sees_all_cameras)
