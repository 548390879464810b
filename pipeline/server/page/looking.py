"""Search by photo, live pictures, and the system."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form, Path, Query, Request, Response

from ...access.audit_log import newest_audit
from ...access.keys import add_key, list_keys, revoke_key
from ...access.roles import Role
from ...access.users import add_user, list_users, remove_user
from ...core.errors import FacestreamError, GalleryError
from ...core.images import decode_photo
from ..dependencies import Examined, TheActor, TheService, changing
from ..problems import RequestRefused
from ..uploads import uploaded
from .rendering import event_header, render, translate
from .routers import cameras_for, page_router
from .texts import N_

viewing = page_router("viewer", noted=True)
watching = page_router("viewer")
"""Not noted each second: the view that asks for it was."""
administering = page_router("admin", noted=True)
managing = page_router("admin")
routers = (viewing, watching, administering, managing)

MOST_HITS: Final = 60
MOST_ENTRIES: Final = 100
Name = Annotated[str, Path(min_length=1, max_length=64)]


@viewing.get("/search")
def search_page(request: Request) -> Response:
    """Where a picture can be dropped."""
    return render(request, "search.html", active="search")


@viewing.post("/search", dependencies=[Examined])
async def search(request: Request, service: TheService, actor: TheActor) -> Response:
    """Where the largest face of a picture was seen; nothing of the picture is kept."""
    async with uploaded(request, "image") as (picture,):
        result = await service.work.run(
            lambda: service.photo_search.search(
                decode_photo(picture.content), sources=cameras_for(actor, []), limit=MOST_HITS
            )
        )
    return render(request, "hits.html", result=result, found=result.found)


@viewing.get("/live")
def live(request: Request, service: TheService, actor: TheActor) -> Response:
    """Tiles of the cameras."""
    cameras = [one for one in service.cameras.all() if actor.sees(one.name)]
    return render(request, "live.html", active="live", cameras=cameras, one=None)


@viewing.get("/live/{name}")
def live_camera(name: Name, request: Request, service: TheService, actor: TheActor) -> Response:
    """One camera, large."""
    if not actor.sees(name):
        raise RequestRefused(404, "there is no such camera")
    one, age = service.cameras.get(name), service.cameras.view(name).age
    return render(request, "live.html", active="live", cameras=[], one=one, age=age)


@watching.get("/live/{name}/state")
def state(name: Name, request: Request, service: TheService, actor: TheActor) -> Response:
    """The state of a camera, and how old its newest frame is."""
    if not actor.sees(name):
        raise RequestRefused(404, "there is no such camera")
    one, age = service.cameras.get(name), service.cameras.view(name).age
    return render(request, "camera_state.html", one=one, age=age)


@watching.get("/live/{name}/picture")
def newest_picture(name: Name, service: TheService, actor: TheActor) -> Response:
    """The newest picture with boxes and names; empty (204) where there is none yet."""
    if not actor.sees(name):
        raise RequestRefused(404, "there is no such camera")
    data = service.cameras.view(name).jpeg()
    if data is None:
        return Response(status_code=204)
    return Response(data, media_type="image/jpeg")


@viewing.get("/system")
def system(request: Request, service: TheService, actor: TheActor) -> Response:
    """What serves, and the cameras."""
    index = service.gallery.index_info()
    return render(
        request,
        "system.html",
        active="system",
        engines=service.analyzer.engines,
        index=index,
        cameras=[one for one in service.cameras.all() if actor.sees(one.name)],
    )


@viewing.get("/system/ready")
async def ready(request: Request, service: TheService) -> Response:
    """Whether an inference, a search and the database work."""
    try:
        checks, problem = await service.work.run(service.ready), ""
    except FacestreamError as error:
        checks, problem = {}, str(error)
    return render(request, "ready.html", checks=checks, problem=problem)


@viewing.get("/system/check")
def check(request: Request, service: TheService) -> Response:
    """What the check of the gallery finds."""
    try:
        found, problem = service.gallery.check(), ""
    except GalleryError as error:
        found, problem = None, str(error)
    return render(request, "check.html", found=found, problem=problem)


@administering.get("/system/audit")
def audit(
    request: Request,
    service: TheService,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """The newest entries of the audit log."""
    found = newest_audit(service.sightings, before=before, limit=MOST_ENTRIES)
    after = found[-1].id if found and found[-1].id > 1 else None
    return render(request, "audit.html", active="system", entries=found, next=after)


@administering.get("/system/access")
def access(request: Request, service: TheService) -> Response:
    """Keys and users."""
    keys, users = list_keys(service.sightings), list_users(service.sightings)
    return render(request, "access.html", active="system", keys=keys, users=users)


@managing.post("/system/keys")
def make_key(
    request: Request,
    service: TheService,
    name: Annotated[str, Form(max_length=64)],
    role: Annotated[Role, Form()] = "viewer",
) -> Response:
    """Make a key, which is shown this once."""
    with changing(request, f"key {name} ({role})"):
        key, secret = add_key(service.sightings, name, role=role)
    return render(request, "new_key.html", key=key, secret=secret)


@managing.post("/system/keys/{name}/revoke")
def revoke(name: Name, request: Request, service: TheService) -> Response:
    """Refuse a key from now on."""
    with changing(request, f"key {name}"):
        revoke_key(service.sightings, name)
    return _again(request, translate(request, N_("The key is revoked.")))


@managing.post("/system/users")
def make_user(
    request: Request,
    service: TheService,
    name: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=256)],
    role: Annotated[Role, Form()] = "viewer",
) -> Response:
    """Make a user, or give one a new password and role."""
    with changing(request, f"user {name} ({role})"):
        add_user(service.sightings, name, password, role=role)
    return _again(request, translate(request, N_("The user can log in.")))


@managing.post("/system/users/{name}/remove")
def delete_user(name: Name, request: Request, service: TheService) -> Response:
    """Remove a user."""
    with changing(request, f"user {name}"):
        remove_user(service.sightings, name)
    return _again(request, translate(request, N_("The user is removed.")))


def _again(request: Request, text: str) -> Response:
    return Response(headers={"HX-Refresh": "true", **event_header("done", text)})
