"""The face API of DeepStack, which CodeProject.AI, Blue Iris and Agent DVR have in common."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import FormData

from ....access.keys import actor_of_key, digest
from ....access.roles import Role
from ....analysis import AnalyzedFace
from ....core.errors import PersonNotFound
from ....gallery.faces import PhotoContent
from ...authentication import client_of, count_failure
from ...dependencies import Examined, TheService, changing, looked_up, needs, service_of
from ...problems import RequestRefused
from ...service import Service
from ...uploads import MOST_PHOTOS, UploadedPicture, opened_form, pictures_of
from ..pictures import analyzed
from .dialect import Dialect, Problem, status_of


def _error(problem: Problem) -> tuple[int, dict[str, Any]]:
    status = status_of(problem)
    return status, {"success": False, "error": problem["detail"], "code": status, "duration": 0}


DIALECT: Final = Dialect(("/v1/vision/",), _error, key_in_form=True)


async def form_with_key(request: Request) -> AsyncIterator[None]:
    """Read the form, and find the actor by its field ``api_key`` where no header named one.

    A client without a known key has one place among `Service.form_places` while it sends.
    """
    service, state = service_of(request), request.scope["state"]
    known = state["actor"] is not None
    client = client_of(request)
    if not known and not service.form_places.take(client):
        raise RequestRefused(503, "too many forms are being sent", Retry_After="2")
    try:
        async with opened_form(request, files=MOST_PHOTOS) as form:
            if not known:
                state["actor"] = await _actor(request, form)
            yield
    finally:
        if not known:
            service.form_places.release(client)


async def _actor(request: Request, form: FormData) -> Any:
    service, key = service_of(request), form.get("api_key")
    if not isinstance(key, str) or not key.strip():
        raise RequestRefused(401, "a key is needed: the field api_key", WWW_Authenticate="Bearer")
    now = datetime.now(UTC)
    found = await asyncio.to_thread(actor_of_key, service.sightings, digest(key.strip()), now)
    if found is None:
        count_failure(request, service)
        raise RequestRefused(401, "Incorrect api key", WWW_Authenticate="Bearer")
    return found


def _router(role: Role, *more: Any) -> APIRouter:
    return APIRouter(
        prefix="/v1/vision",
        tags=["deepstack"],
        dependencies=[Depends(form_with_key), Depends(needs(role)), *more],
        include_in_schema=False,
    )


viewing = _router("viewer", Depends(looked_up))
writing = _router("operator")
routers = (viewing, writing)


@viewing.post("/face", dependencies=[Examined])
async def detect(service: TheService, request: Request) -> dict[str, Any]:
    """Where faces are; those the detector is less sure of than ``min_confidence`` are left out."""
    picture, least, began = *await _asked(request), time.perf_counter()
    found = await service.work.run(lambda: analyzed(service, picture))
    faces = [{"confidence": round(one.score, 4), **_box(one)} for one in found]
    faces = [one for one in faces if one["confidence"] >= least]
    return _answer(began, "detect", _counted(len(faces)), predictions=faces)


@viewing.post("/face/recognize", dependencies=[Examined])
async def recognize(service: TheService, request: Request) -> dict[str, Any]:
    """Who is in a picture: ``unknown`` without a name, or with less than ``min_confidence``."""
    picture, least, began = *await _asked(request), time.perf_counter()
    found = await service.work.run(lambda: analyzed(service, picture))
    faces = [_recognised(one, least) for one in found]
    known = any(one["userid"] != "unknown" for one in faces)
    said = "A face was recognised" if known else "No known faces"
    return _answer(began, "recognize", said if faces else _counted(0), predictions=faces)


@viewing.post("/face/list")
def list_faces(service: TheService) -> dict[str, Any]:
    """The names of all people."""
    began = time.perf_counter()
    names = [person.name for person in service.gallery.people()]
    return _answer(began, "list", "", faces=names)


@writing.post("/face/register", dependencies=[Examined])
async def register(service: TheService, request: Request) -> dict[str, Any]:
    """Enrol pictures, which may have any field names, of the person ``userid``."""
    began, form = time.perf_counter(), await request.form()
    name = _userid(form)
    photos = await pictures_of(value for _, value in form.multi_items())
    if not photos:
        raise RequestRefused(400, "No valid image file found")
    said = await service.work.run(lambda: _enrol(service, request, name, photos))
    return _answer(began, "register", said)


@writing.post("/face/delete")
async def delete(service: TheService, request: Request) -> dict[str, Any]:
    """Remove the person ``userid`` with all photos; that nobody is called so is no error."""
    began, name = time.perf_counter(), _userid(await request.form())

    def remove() -> None:
        try:
            with changing(request, name):
                service.gallery.remove(name)
        except PersonNotFound:
            pass

    await asyncio.to_thread(remove)
    return _answer(began, "delete", "")


def _enrol(service: Service, request: Request, name: str, photos: list[UploadedPicture]) -> str:
    contents = [PhotoContent.of_bytes(one.content, name=one.name) for one in photos]
    known = any(person.is_called(name) for person in service.gallery.people())
    with changing(request, name):
        results = list(service.gallery.iter_add(name, contents))
    if all(one.rejected for one in results):
        first = results[0]
        no_face = first.reason == "no_face"
        raise RequestRefused(400, "No face detected" if no_face else first.detail)
    return "face updated" if known else "face added"


async def _asked(request: Request) -> tuple[UploadedPicture, float]:
    """The picture and ``min_confidence`` of a form."""
    form = await request.form()
    pictures = await pictures_of(form.getlist("image"))
    if not pictures:
        raise RequestRefused(400, "No valid image file found")
    text = form.get("min_confidence")
    try:
        least = float(text) if isinstance(text, str) and text.strip() else 0.0
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise RequestRefused(400, "Invalid value for min_confidence: give 0 to 1")
    return pictures[0], least


def _userid(form: FormData) -> str:
    name = form.get("userid")
    if not isinstance(name, str) or not name.strip():
        raise RequestRefused(400, "userid not specified")
    return name


def _recognised(face: AnalyzedFace, least: float) -> dict[str, Any]:
    identity = face.identity
    known = identity.name is not None and identity.probability >= least
    return {
        "confidence": round(identity.probability, 4) if known else 0,
        "userid": identity.name if known else "unknown",
        **_box(face),
    }


def _box(face: AnalyzedFace) -> dict[str, int]:
    x1, y1, x2, y2 = (max(round(float(value)), 0) for value in face.box)
    return {"x_min": x1, "y_min": y1, "x_max": x2, "y_max": y2}


def _counted(count: int) -> str:
    return f"Found {count} {'face' if count == 1 else 'faces'}"


def _answer(began: float, command: str, message: str, **more: Any) -> dict[str, Any]:
    """What both servers answer with: ``duration`` is DeepStack's, the rest CodeProject.AI's."""
    seconds = time.perf_counter() - began
    spent = round(seconds * 1000)
    counted = {"count": len(next(iter(more.values())))} if more else {}
    times = {"duration": round(seconds, 4), "inferenceMs": spent, "processMs": spent}
    return {
        "success": True,
        **({"message": message} if message else {}),
        **more,
        **counted,
        "command": command,
        "code": 200,
        **times,
    }
