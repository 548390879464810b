"""Adding, changing and removing cameras, and a picture of one that is not added yet."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import Field

from ..camera_probe import picture_of
from ..dependencies import Examined, TheActor, TheService, WholeHouse, changes, looks, note_change
from ..models import Answer
from .cameras import CameraOut, Name, see

reading = looks("operator", "cameras")
writing = changes("operator", "cameras", WholeHouse)
routers = (reading, writing)

Url = Annotated[str, Field(min_length=1, max_length=2000, examples=["rtsp://me:1234@10.0.0.5/s1"])]
Areas = Annotated[
    list[Annotated[list[tuple[float, float]], Field(min_length=3, max_length=200)]],
    Field(max_length=50, examples=[[[[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]]]),
]
Times = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=50)]


class CameraChange(Answer):
    """Settings of a camera; what is left out stays, null is the default."""

    url: Url | None = None
    """rtsp, rtsps, http or https; it may have a login, which is never shown again."""
    sub_url: Url | None = None
    """Its smaller stream."""
    stream: Literal["main", "sub"] | None = None
    enabled: bool | None = None
    """False: it does not run after a restart until it is started."""
    transport: Literal["tcp", "udp"] | None = None
    watch: Areas | None = None
    """Areas to search, as fractions of the picture from its top left; none: the whole picture."""
    mask: Areas | None = None
    """Areas not to search."""
    schedule: Times | None = None
    """When it is read, e.g. ``["mon-fri 07:00-19:00"]``; none: always."""
    timezone: Annotated[str, Field(max_length=64)] | None = None
    """Of the schedule, e.g. ``Europe/Berlin``."""
    threshold: float | None = Field(default=None, ge=-1, le=1)
    """Similarity that a name needs at this camera."""
    min_face: int | None = Field(default=None, ge=12, le=4096)
    """Smallest face that is searched, in pixels of the frame."""
    detect_size: int | None = Field(default=None, ge=32, le=16384)
    detect_every: int | None = Field(default=None, ge=1, le=1000)

    def given(self) -> dict[str, Any]:
        """The fields that the request has."""
        return {name: self.model_dump(mode="json")[name] for name in self.model_fields_set}


class CameraIn(CameraChange):
    """A camera to add."""

    name: str = Field(min_length=1, max_length=64, examples=["door"])
    url: Url


class UrlIn(Answer):
    """A URL to try."""

    url: Url
    transport: Literal["tcp", "udp"] | None = None


@reading.get("/cameras/{name}/settings")
def get_settings(name: Name, service: TheService, actor: TheActor) -> dict[str, Any]:
    """All settings of a camera; its URLs without what may be secret."""
    see(actor, name)
    return service.cameras.settings_of(name).model_dump(mode="json")


@writing.post("/cameras", status_code=201)
def add(body: CameraIn, service: TheService, request: Request, response: Response) -> CameraOut:
    """Add a camera, which runs from now on; the others connect again."""
    values = body.given()
    del values["name"]
    note_change(request, f"camera {body.name}")
    service.configuration.add_camera(body.name, values)
    response.headers["Location"] = f"/api/v1/cameras/{quote(body.name)}"
    return CameraOut.of(service.cameras.get(body.name))


@writing.patch("/cameras/{name}")
def change(name: Name, body: CameraChange, service: TheService, request: Request) -> CameraOut:
    """Change a camera that was added over HTTP; all cameras connect again."""
    note_change(request, f"camera {name}")
    service.configuration.change_camera(name, body.given())
    return CameraOut.of(service.cameras.get(name))


@writing.delete("/cameras/{name}", status_code=204)
def remove(name: Name, service: TheService, request: Request) -> None:
    """Remove a camera that was added over HTTP; its sightings stay."""
    note_change(request, f"camera {name}")
    service.configuration.remove_camera(name)


@writing.post(
    "/cameras/test",
    dependencies=[Examined],
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
async def test(body: UrlIn, service: TheService, request: Request) -> Response:
    """A picture of a URL before it is added; takes at most 15 seconds."""
    store = service.configuration.cameras

    def take() -> bytes:
        note_change(request, "a URL")
        store.check_url(body.url)
        camera = store.camera({"url": body.url, "transport": body.transport})
        return picture_of(camera, service.settings)

    return Response(await service.work.run(take), media_type="image/jpeg")
