"""Timeline: sightings newest first, one of them in full, corrections and undo."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Form, Path, Query, Request, Response
from sqlalchemy import func, select

from ...access.roles import Requester
from ...core.errors import ChangedSince
from ...core.types import Verdict
from ...gallery.directory import people_names
from ...sightings import Sighting, SightingFilter
from ...sightings.cluster_records import VISIT_GAP
from ...sightings.corrections import Corrections
from ...sightings.evidence import evidence_of
from ...storage.schema import SightingRow
from ..dependencies import TheActor, TheService, changing, name_in_log
from ..problems import RequestRefused
from ..service import Service
from .rendering import event_header, is_partial, last_change, render, translate
from .routers import cameras_for, page_router, sighting_for
from .texts import N_, zone_of

viewing = page_router("viewer", noted=True)
changing_router = page_router("operator")
routers = (viewing, changing_router)

PAGE_SIZE: Final = 48
SUGGESTED: Final = 500
"""Most names that a field offers."""
Uid = Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z_-]+$")]


@viewing.get("/")
def timeline(
    request: Request,
    service: TheService,
    actor: TheActor,
    camera: Annotated[str, Query(max_length=200)] = "",
    person: Annotated[str, Query(max_length=400)] = "",
    verdict: Literal["", "known", "stranger", "unsure"] = "",
    since: Annotated[str, Query(max_length=30)] = "",
    until: Annotated[str, Query(max_length=30)] = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    last: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Sightings as cards; with ``cursor`` the next ones alone."""
    zone = zone_of(request)
    wanted = SightingFilter(
        sources=cameras_for(actor, [camera]),
        since=_day(since, zone),
        until=_day(until, zone, days=1),
        names=(person,) if person.strip() else None,
        verdicts=_verdicts(verdict),
    )
    page = service.sightings.page(wanted, limit=PAGE_SIZE, cursor=cursor)
    chosen = {
        "camera": camera, "person": person, "verdict": verdict, "since": since, "until": until
    }  # fmt: skip
    used = {key: value for key, value in chosen.items() if value}
    more = ""
    if page.cursor is not None:
        ended = page.sightings[-1].start
        place = {"cursor": page.cursor, "last": "" if ended is None else ended.isoformat()}
        more = f"/?{urlencode({**used, **place})}"
    items = list(_grouped(page.sightings, zone, _time(last)))
    if is_partial(request) and cursor is not None:
        return render(request, "cards.html", items=items, more=more)
    return render(
        request,
        "timeline.html",
        active="timeline",
        items=items,
        more=more,
        chosen=chosen,
        filtered=bool(used),
        cameras=camera_names(service, actor),
        names=known_names(service),
    )


@viewing.get("/sightings/{uid}")
def sighting(uid: Uid, request: Request, service: TheService, actor: TheActor) -> Response:
    """One sighting: pictures, candidates, why, history."""
    return _shown(request, service, actor, sighting_for(service, actor, uid))


@changing_router.post("/sightings/{uid}/correct")
def correct(
    uid: Uid,
    request: Request,
    service: TheService,
    actor: TheActor,
    what: Annotated[Literal["is", "is_not", "stranger", "ignore"], Form()],
    name: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    """Say who a sighting is, or is not."""
    one = sighting_for(service, actor, uid)
    if what in ("is", "is_not") and not name.strip():
        raise RequestRefused(422, translate(request, N_("Say who: enter a name.")))
    corrections = Corrections(service.sightings, service.settings, who=actor.name)
    who = f" {name_in_log(name)}" if name else ""
    with changing(request, f"sighting {one.id}: {what}{who}"):
        corrections.correct(one.id, what, name)
    done = translate(request, N_("Corrected."))
    return _shown(request, service, actor, sighting_for(service, actor, uid), done=done)


@changing_router.post("/undo")
def undo(
    request: Request, service: TheService, actor: TheActor, change: Annotated[int, Form()]
) -> Response:
    """Take back the newest change, if it is still this one of this person."""
    corrections = Corrections(service.sightings, service.settings, who=actor.name)
    try:
        if last_change(request, actor.name) != change:
            raise ChangedSince
        with changing(request, f"change {change}"):
            done = corrections.undo(expected=change)
    except ChangedSince as error:
        text = N_("Something else was changed since; this cannot be undone any more.")
        raise RequestRefused(409, translate(request, text)) from error
    service.refresh()
    text = translate(request, N_("Undone: %(what)s"), what=done.summary)
    headers = {"HX-Refresh": "true", **event_header("done", text)}
    return Response(status_code=200, headers=headers)


def known_names(service: Service) -> list[str]:
    """Names of people, for fields that offer them."""
    return people_names(service.gallery, limit=SUGGESTED)


def camera_names(service: Service, actor: Requester) -> list[str]:
    """The cameras and videos that have sightings, and those of the settings."""
    found, last = set(service.settings.cameras), ""
    with service.sightings.reading() as connection:
        while len(found) < SUGGESTED:  # from one to the next by the index: not all rows are read
            query = select(func.min(SightingRow.source)).where(SightingRow.source > last)
            last = connection.scalar(query) or ""
            if not last:
                break
            found.add(last)
    return sorted(one for one in found if actor.sees(one))


def _shown(
    request: Request, service: Service, actor: Requester, one: Sighting, *, done: str = ""
) -> Response:
    found = evidence_of(one, service.sightings, service.gallery, service.settings)
    change = last_change(request, actor.name) if done else None
    return render(
        request,
        "sighting.html",
        active="timeline",
        one=one,
        found=found,
        done=done,
        change=change,
        names=known_names(service),
    )


def _grouped(
    sightings: tuple[Sighting, ...], zone: Any, last: datetime | None
) -> Iterator[dict[str, Any]]:
    """The cards, each with the day and the visit that begins with it; newest first."""
    for one in sightings:
        at = one.start
        day = None if at is None else at.astimezone(zone).date()
        before = None if last is None else last.astimezone(zone).date()
        new_day = at is not None and day != before
        visit = at is not None and (new_day or last is None or last - at > VISIT_GAP)
        yield {"one": one, "day": at if new_day else None, "visit": at if visit else None}
        last = at or last


def _verdicts(verdict: str) -> tuple[Verdict, ...] | None:
    known: dict[str, Verdict] = {"known": "known", "stranger": "stranger", "unsure": "unsure"}
    return (known[verdict],) if verdict in known else None


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _day(text: str, zone: Any, *, days: int = 0) -> datetime | None:
    """The start of a day of the viewer, or of the one after; None where it is no day."""
    try:
        at = datetime.fromisoformat(text).replace(tzinfo=zone if zone else ZoneInfo("UTC"))
        return (at + timedelta(days=days)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
