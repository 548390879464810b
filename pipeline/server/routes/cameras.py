"""Cameras: their states and pictures; starting and stopping them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import Path, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.background import BackgroundTask

from ...access.roles import Requester
from ...core.events import State
from ...sinks.mjpeg.views import LiveView
from ..cameras import CameraStatus
from ..dependencies import TheActor, TheService, changes, looks, note_change
from ..listeners import StreamPass
from ..models import Answer
from ..problems import RequestRefused
from ..service import Service

viewing = looks("viewer", "cameras")
writing = changes("operator", "cameras")
routers = (viewing, writing)

Name = Annotated[str, Path(min_length=1, max_length=64)]
BOUNDARY = "frame"


class CameraOut(Answer):
    """A camera of the settings."""

    name: str = Field(examples=["door"])
    source: str = Field(examples=["rtsp://10.0.0.5"])
    """Its address, without secrets."""
    running: bool
    """False: it was stopped, or is not enabled."""
    state: State | None
    """Null before the first."""
    since: datetime | None
    reason: str | None
    """What happened, in words."""
    restarts: int
    changeable: bool
    """It was added over HTTP; others are in the settings file."""
    problem: str | None
    """Why the cameras cannot run at the moment."""

    @classmethod
    def of(cls, one: CameraStatus) -> CameraOut:
        event = one.state
        return cls(
            name=one.name,
            source=one.source,
            running=one.wanted,
            state=None if event is None else event.state,
            since=None if event is None else event.utc,
            reason=None if event is None else event.reason,
            restarts=0 if event is None else event.restarts,
            changeable=one.changeable,
            problem=one.problem,
        )


class CamerasOut(Answer):
    """The cameras of the settings that the actor may see."""

    cameras: list[CameraOut]


@viewing.get("/cameras")
def list_cameras(service: TheService, actor: TheActor) -> CamerasOut:
    """All cameras and their states."""
    found = [CameraOut.of(one) for one in service.cameras.all() if actor.sees(one.name)]
    return CamerasOut(cameras=found)


@viewing.get("/cameras/{name}")
def get_camera(name: Name, service: TheService, actor: TheActor) -> CameraOut:
    """One camera and its state."""
    see(actor, name)
    return CameraOut.of(service.cameras.get(name))


@viewing.get(
    "/cameras/{name}/snapshot",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def snapshot(name: Name, service: TheService, actor: TheActor) -> Response:
    """The newest picture with boxes and names."""
    data = await asyncio.to_thread(_view(service, actor, name).jpeg)
    if data is None:
        raise RequestRefused(503, "there is no picture yet", Retry_After="1")
    return Response(data, media_type="image/jpeg")


@viewing.get(
    "/cameras/{name}/live",
    response_class=Response,
    responses={200: {"content": {"multipart/x-mixed-replace": {}}}},
)
async def live(name: Name, service: TheService, actor: TheActor) -> StreamingResponse:
    """The picture as MJPEG; a slow client misses frames."""
    view = _view(service, actor, name)
    kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    place = StreamPass(service, actor)
    release = BackgroundTask(place.release)
    return StreamingResponse(_parts(view, place), media_type=kind, background=release)


@writing.post("/cameras/{name}/start")
def start(name: Name, service: TheService, actor: TheActor, request: Request) -> CameraOut:
    """Run a camera until the service ends; the others connect again, too."""
    return _set(service, actor, request, name, wanted=True)


@writing.post("/cameras/{name}/stop")
def stop(name: Name, service: TheService, actor: TheActor, request: Request) -> CameraOut:
    """Stop a camera until the service ends; the others connect again."""
    return _set(service, actor, request, name, wanted=False)


def _set(
    service: Service, actor: Requester, request: Request, name: str, *, wanted: bool
) -> CameraOut:
    see(actor, name)
    service.cameras.get(name)
    note_change(request, name)
    return CameraOut.of(service.cameras.set_running(name, wanted=wanted))


def _view(service: Service, actor: Requester, name: str) -> LiveView:
    see(actor, name)
    return service.cameras.view(name)


def see(actor: Requester, name: str) -> None:
    """Raises RequestRefused (404) for a camera outside of the actor's scope."""
    if not actor.sees(name):
        raise RequestRefused(404, "there is no such camera")


async def _parts(view: LiveView, place: StreamPass) -> AsyncIterator[bytes]:
    try:
        async for data in view.watch():
            if not await place.valid():
                return
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n"
            yield f"{head}\r\n".encode() + data + b"\r\n"
    finally:
        place.release()
