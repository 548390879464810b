"""People: the grid, one of them with photos and calendar, and changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Form, Query, Request, Response
from starlette.datastructures import FormData

from ...core.errors import GalleryError
from ...gallery.directory import (
    count_people,
    create_person,
    first_photos,
    merge_people,
    people_page,
    person_by_id,
    photos_of,
    rename_person,
)
from ...gallery.findings import Finding
from ...gallery.records import Person
from ...sightings import SightingFilter
from ...sightings.forget import ForgetRequest
from ...sightings.presence import days_seen
from ..dependencies import Examined, TheActor, TheService, changing, name_in_log
from ..problems import RequestRefused
from ..routes.people import PersonId
from ..routes.photos import PhotoId, enrol
from ..service import Service
from ..uploads import MOST_PHOTOS, uploaded
from .rendering import event_header, is_partial, render, translate
from .routers import cameras_for, need_all_cameras, page_router
from .texts import N_, zone_of
from .timeline import known_names

viewing = page_router("viewer", noted=True)
writing = page_router("operator")
routers = (viewing, writing)

PAGE_SIZE: Final = 60
WEEKS: Final = 16
RECENT: Final = 24


@viewing.get("/people")
def people(
    request: Request,
    service: TheService,
    search: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response:
    """The grid; with ``cursor`` the next ones alone."""
    page = people_page(service.gallery, limit=PAGE_SIZE, cursor=cursor, search=search)
    photos = first_photos(service.gallery, [one.id for one in page.people])
    only_next = cursor is not None and is_partial(request)
    return render(
        request,
        "people_grid.html" if only_next else "people.html",
        active="people",
        people=page.people,
        photos=photos,
        next=page.cursor,
        search=search,
        total=count_people(service.gallery),
    )


@viewing.get("/people/{person_id}")
def person(person_id: PersonId, request: Request, service: TheService, actor: TheActor) -> Response:
    """One person."""
    found = person_by_id(service.gallery, person_id)
    zone = zone_of(request)
    sources = cameras_for(actor, [])
    since = datetime.now(UTC) - timedelta(weeks=WEEKS)
    days = days_seen(service.sightings, person_id, since=since, zone=zone, sources=sources)
    recent = service.sightings.page(
        SightingFilter(person_ids=(person_id,), sources=sources), limit=RECENT
    )
    return render(
        request,
        "person.html",
        active="people",
        person=found,
        photos=photos_of(service.gallery, person_id),
        notes=_notes(service, found),
        calendar=_calendar(days, datetime.now(zone)),
        recent=recent.sightings,
        names=[name for name in known_names(service) if name != found.name],
    )


@writing.post("/people", dependencies=[Examined])
async def add_person(request: Request, service: TheService) -> Response:
    """Make a person of a name and photos; each photo has a verdict."""
    async with uploaded(request, "photos", most=MOST_PHOTOS) as photos:
        name = _field(await request.form(), "name")
        if not name.strip():
            raise RequestRefused(422, translate(request, N_("Enter a name.")))

        def add() -> tuple[Person, Any]:
            with changing(request, f"person {name_in_log(name)}"):
                made = create_person(service.gallery, name)
            return made, enrol(service, request, made.id, photos)

        made, done = await service.work.run(add)
    return render(request, "verdicts.html", person=made, done=done)


@writing.post("/people/{person_id}/photos", dependencies=[Examined])
async def add_photos(person_id: PersonId, request: Request, service: TheService) -> Response:
    """Add photos; each has a verdict."""
    async with uploaded(request, "photos", most=MOST_PHOTOS) as photos:
        done = await service.work.run(lambda: enrol(service, request, person_id, photos))
    found = person_by_id(service.gallery, person_id)
    return render(request, "verdicts.html", person=found, done=done)


@writing.post("/people/{person_id}/rename")
def rename(
    person_id: PersonId,
    request: Request,
    service: TheService,
    name: Annotated[str, Form(max_length=400)],
) -> Response:
    """Give a person another name."""
    with changing(request, f"person {person_id}"):
        rename_person(service.gallery, person_id, name)
    return _again(request, translate(request, N_("Renamed.")))


@writing.post("/people/{person_id}/merge")
def merge(
    person_id: PersonId,
    request: Request,
    service: TheService,
    other: Annotated[str, Form(max_length=400)],
) -> Response:
    """Take in another person, who is given by name."""
    gone = service.gallery.person(other)
    if gone.id == person_id:
        raise RequestRefused(422, "a person cannot be merged with itself")
    with changing(request, f"person {person_id} takes in {gone.id}"):
        merge_people(service.gallery, person_id, gone.id)
    return _again(request, translate(request, N_("Merged.")))


@writing.post("/people/{person_id}/photos/{photo_id}/aside")
def aside(
    person_id: PersonId,
    photo_id: PhotoId,
    request: Request,
    service: TheService,
    back: Annotated[bool, Form()] = False,
) -> Response:
    """Leave a photo out of recognition, or take it back."""
    if photo_id not in [one.id for one in photos_of(service.gallery, person_id)]:
        raise RequestRefused(404, f"person {person_id} has no photo {photo_id}")
    with changing(request, f"photo {photo_id} of person {person_id}"):
        if back:
            service.gallery.restore_photos([photo_id])
        else:
            service.gallery.set_aside([photo_id], reason="set aside on the page")
    text = N_("The photo is used again.") if back else N_("The photo is set aside.")
    return _again(request, translate(request, text))


@viewing.get("/people/{person_id}/forget")
def ask_forget(
    person_id: PersonId, request: Request, service: TheService, actor: TheActor
) -> Response:
    """What would be erased."""
    need_all_cameras(actor)
    if not actor.may("operator"):
        raise RequestRefused(403, f"this needs the role operator; yours is {actor.role}")
    found = person_by_id(service.gallery, person_id)
    plan = service.forgetting().plan(ForgetRequest(person=found.name))
    return render(request, "forget.html", active="people", person=found, plan=plan, receipt=None)


@writing.post("/people/{person_id}/forget")
def forget(
    person_id: PersonId,
    request: Request,
    service: TheService,
    actor: TheActor,
    name: Annotated[str, Form(max_length=400)],
) -> Response:
    """Erase a person with all photos and sightings for good; shows the receipt."""
    need_all_cameras(actor)
    found = person_by_id(service.gallery, person_id)
    if not found.is_called(name):
        text = N_("This is not the name of the person: nothing was erased.")
        raise RequestRefused(422, translate(request, text))
    plan = service.forgetting().plan(ForgetRequest(person=found.name))
    with changing(request, f"person {person_id}"):
        receipt = service.forget(plan, by=actor.name)
    return render(request, "forget.html", active="people", person=found, plan=None, receipt=receipt)


def _again(request: Request, text: str) -> Response:
    return Response(headers={"HX-Refresh": "true", **event_header("done", text)})


def _notes(service: Service, person: Person) -> dict[int | None, list[Finding]]:
    """What the check found of a person, by photo; None: of the person."""
    notes: dict[int | None, list[Finding]] = {}
    try:
        found = service.gallery.check([person.name]).findings
    except GalleryError:
        return notes  # photos without embeddings of this model
    for one in found:
        at = one.photo_id if one.kind not in ("few_photos", "similar_photos") else None
        notes.setdefault(at, []).append(one)
    return notes


def _calendar(days: dict[str, int], today: datetime) -> list[dict[str, Any]]:
    """The days of the last weeks, Monday first, with a level 0 to 4 each."""
    monday = today.date() - timedelta(days=today.weekday(), weeks=WEEKS - 1)
    most = max(days.values(), default=1)
    shown = []
    for number in range(WEEKS * 7):
        day = monday + timedelta(days=number)
        if day > today.date():
            break
        count = days.get(day.isoformat(), 0)
        shown.append({"day": day.isoformat(), "count": count, "level": -(-4 * count // most)})
    return shown


def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
