"""Unknown people: clusters with pictures, named by keyboard."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Form, Path, Request, Response

from ...access.roles import Requester
from ...sightings.unknowns import Unknowns
from ..dependencies import TheActor, TheService, changing, name_in_log
from ..service import Service
from .rendering import event_header, last_change, render, translate
from .routers import need_all_cameras, page_router
from .texts import N_
from .timeline import known_names

viewing = page_router("viewer", noted=True)
writing = page_router("operator")
routers = (viewing, writing)

MOST: Final = 100
PICTURES: Final = 8
ClusterId = Annotated[int, Path(ge=1, le=2**53)]


@viewing.get("/unknown")
def unknown(request: Request, service: TheService, actor: TheActor) -> Response:
    """The clusters with most sightings."""
    need_all_cameras(actor)
    service.unknown_updates.bring_up_to_date()
    found = Unknowns(service.sightings, service.settings).list(limit=MOST)
    return render(
        request,
        "unknown.html",
        active="unknown",
        clusters=found,
        pictures=PICTURES,
        names=known_names(service),
        change=last_change(request, actor.name),
    )


@writing.post("/unknown/{cluster}/name")
def name(
    cluster: ClusterId,
    request: Request,
    service: TheService,
    actor: TheActor,
    name: Annotated[str, Form(max_length=400)],
) -> Response:
    """Give the person of a cluster a name."""
    with changing(request, f"cluster {cluster}: {name_in_log(name)}"):
        done = _own(service, actor).name(cluster, name)
    service.refresh()
    text = N_("%(sightings)s sightings are %(name)s now, %(photos)s pictures became photos.")
    shown = translate(
        request,
        text,
        sightings=done.sightings + done.resembling,
        name=done.name,
        photos=done.photos,
    )
    return _gone(request, actor, shown)


@writing.post("/unknown/{cluster}/ignore")
def ignore(cluster: ClusterId, request: Request, service: TheService, actor: TheActor) -> Response:
    """Leave a cluster out from now on."""
    with changing(request, f"cluster {cluster}"):
        _own(service, actor).ignore(cluster)
    return _gone(request, actor, translate(request, N_("Ignored from now on.")))


@writing.post("/unknown/{cluster}/merge")
def merge(
    cluster: ClusterId,
    request: Request,
    service: TheService,
    actor: TheActor,
    other: Annotated[int, Form(ge=1, le=2**53)],
) -> Response:
    """Make two clusters one."""
    with changing(request, f"cluster {cluster} takes in {other}"):
        _own(service, actor).merge(cluster, other)
    text = translate(request, N_("Merged."))
    return Response(headers={"HX-Refresh": "true", **event_header("done", text)})


def _own(service: Service, actor: Requester) -> Unknowns:
    need_all_cameras(actor)
    return Unknowns(service.sightings, service.settings, who=actor.name)


def _gone(request: Request, actor: Requester, text: str) -> Response:
    """The cluster's card goes; the notice says what was done, with the way back."""
    return render(request, "done.html", done=text, change=last_change(request, actor.name))
