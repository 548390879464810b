"""Events while they happen: server-sent events, and a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from ...access.roles import Requester
from ...core.events import EventType
from ...core.types import Verdict
from ..dependencies import TheActor, TheService, actor_of, entry_for, looks, service_of
from ..events import EventFilter, Gap, Listener, ListeningEnded, NumberedEvent
from ..listeners import StreamPass
from ..problems import RequestRefused
from ..service import Service

reading = looks("viewer", "events")
routers = (reading,)

HEARTBEAT_SECONDS: Final = 15.0
SEND_SECONDS: Final = 30.0
"""How long a client of a WebSocket may not read."""
RETRY_MILLISECONDS: Final = 3000


def wanted_events(
    actor: TheActor,
    camera: Annotated[list[str] | None, Query(max_length=100)] = None,
    type: Annotated[list[EventType] | None, Query(max_length=6)] = None,
    person: Annotated[list[int] | None, Query(max_length=100)] = None,
    verdict: Annotated[list[Verdict] | None, Query(max_length=3)] = None,
) -> EventFilter:
    """Which events are wanted, within the actor's scope; each may be repeated."""
    cameras = None if camera is None else frozenset(camera)
    if actor.cameras is not None:
        cameras = actor.cameras if cameras is None else cameras & actor.cameras
    return EventFilter(cameras, _set(type), _set(person), _set(verdict))


Wanted = Annotated[EventFilter, Depends(wanted_events)]
After = Annotated[
    str | None, Query(max_length=64, description="Id of the last event that was received.")
]


@reading.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream of events: `data` is an event as in events.jsonl, `id` is for "
            "Last-Event-ID. An event `gap` says since when some are missing.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def events(
    service: TheService,
    actor: TheActor,
    wanted: Wanted,
    request: Request,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Events from now on, or after Last-Event-ID (or ``after``)."""
    place = StreamPass(service, actor)
    stream = _stream(service, place, wanted, last_event_id or after)
    return StreamingResponse(
        stream, media_type="text/event-stream", background=BackgroundTask(place.release)
    )


async def event_socket(socket: WebSocket) -> None:
    """Events as messages; see ``/api/v1/events``, whose filters it takes."""
    service = service_of(socket)
    try:
        actor = actor_of(socket)
        wanted, after = _of_query(socket, actor)
        await asyncio.wrap_future(service.lookups.note(entry_for(socket, "events.socket")))
        place = StreamPass(service, actor)
    except RequestRefused as refused:
        await socket.close(1008, refused.detail[:120])
        return
    listener = service.events.listen(wanted, after=after)
    try:
        await socket.accept()
        reading = asyncio.create_task(_until_closed(socket))
        writing = asyncio.create_task(_send_all(socket, listener, place))
        done, pending = await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if writing in done and writing.exception() is None and reading not in done:
            await socket.close(1013 if listener.overflowed else 1001)
    finally:
        _left(service, listener)
        place.release()


async def _send_all(socket: WebSocket, listener: Listener, place: StreamPass) -> None:
    try:
        while await place.valid():
            item = await listener.next(HEARTBEAT_SECONDS)
            if item is None:
                continue  # the protocol has pings of its own
            async with asyncio.timeout(SEND_SECONDS):
                await socket.send_text(_message(item))
    except (ListeningEnded, TimeoutError, WebSocketDisconnect, RuntimeError):
        return


async def _until_closed(socket: WebSocket) -> None:
    """Read, and ignore, what the client sends: there is nothing that it could say."""
    try:
        while True:
            await socket.receive_bytes()
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return


async def _stream(
    service: Service, place: StreamPass, wanted: EventFilter, after: str | None
) -> AsyncIterator[str]:
    listener = service.events.listen(wanted, after=after)
    try:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        while await place.valid():
            item = await listener.next(HEARTBEAT_SECONDS)
            yield ": \n\n" if item is None else _sent(item)
    except ListeningEnded:
        return
    finally:
        _left(service, listener)
        place.release()


def _left(service: Service, listener: Listener) -> None:
    service.events.leave(listener)
    if listener.overflowed:
        service.metrics.slow.inc()


def _sent(item: NumberedEvent | Gap) -> str:
    if isinstance(item, Gap):
        return f"event: gap\ndata: {json.dumps(_gap(item))}\n\n"
    return f"id: {item.id}\nevent: {item.event.type}\ndata: {item.json}\n\n"


def _message(item: NumberedEvent | Gap) -> str:
    if isinstance(item, Gap):
        return json.dumps({"id": None, "event": "gap", "data": _gap(item)})
    return f'{{"id":"{item.id}","event":"{item.event.type}","data":{item.json}}}'


def _gap(gap: Gap) -> dict[str, Any]:
    since = gap.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"since": since, "sightings": f"/api/v1/sightings?since={since}"}


def _of_query(socket: WebSocket, actor: Requester) -> tuple[EventFilter, str | None]:
    query = socket.query_params
    people = query.getlist("person")
    if any(not one.isdecimal() or len(one) > 18 for one in people):
        raise RequestRefused(422, "person: a person's id is a number")
    wanted = wanted_events(
        actor,
        query.getlist("camera") or None,
        query.getlist("type") or None,  # type: ignore[arg-type]  # others match nothing
        [int(one) for one in people] or None,
        query.getlist("verdict") or None,  # type: ignore[arg-type]
    )
    return wanted, query.get("after")


def _set(values: list[Any] | None) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)
