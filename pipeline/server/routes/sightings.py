"""What was seen: sightings, their pictures and evidence, and the search by a picture."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path, Query, Request, Response
from pydantic import Field

from ...access.roles import Requester
from ...core.errors import UsageError
from ...core.images import decode_photo
from ...core.types import Verdict
from ...sightings import Sighting, SightingFilter
from ...sightings.corrections import Decision
from ...sightings.evidence import evidence_of
from ..dependencies import Examined, TheActor, TheService, looks
from ..models import Answer, CandidateOut, in_utc
from ..problems import RequestRefused
from ..service import Service
from ..uploads import form_with, uploaded

T = TypeVar("T")

reading = looks("viewer", "sightings")
routers = (reading,)

Uid = Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z_-]+$")]
Cameras = Annotated[list[str] | None, Query(max_length=100, description="Of these; repeatable.")]
Time = Annotated[datetime | None, Query(description="ISO 8601; UTC where it names no zone.")]


class SightingOut(Answer):
    """A face from when it appeared until it left."""

    id: str = Field(examples=["8dbf7d5a4f0f4c7e9c3b1d2e3f405162"])
    camera: str
    """The camera or video."""
    file: str | None
    """Of a source of photos, the photo."""
    state: Literal["open", "closed", "interrupted"]
    start: datetime | None
    end: datetime | None
    start_pts: float
    end_pts: float
    box: tuple[float, float, float, float]
    name: str
    person_id: int | None
    verdict: Verdict
    similarity: float
    probability: float
    uncertainty: float | None
    reason: str | None
    faces: int
    """Number of detections."""
    fixed: bool
    """A human decided on it."""
    ignored: bool
    """It is left out of alarms."""
    pictures: dict[str, str]
    """Addresses by kind: ``face`` (aligned, 112×112) and ``frame`` (around it)."""

    @classmethod
    def of(cls, one: Sighting) -> SightingOut:
        address = f"/api/v1/sightings/{one.id}/pictures"
        return cls(
            id=one.id,
            camera=one.source,
            file=None if one.file is None else FilePath(one.file).name,
            state=one.state,
            start=one.start,
            end=one.end,
            start_pts=round(one.start_pts, 3),
            end_pts=round(one.end_pts, 3),
            box=one.box,
            name=one.name,
            person_id=one.person_id,
            verdict=one.verdict,
            similarity=round(one.similarity, 4),
            probability=round(one.probability, 4),
            uncertainty=None if one.uncertainty is None else round(one.uncertainty, 4),
            reason=one.reason,
            faces=one.faces,
            fixed=one.fixed,
            ignored=one.ignored,
            pictures={kind: f"{address}/{kind}" for kind in one.pictures},
        )


class SightingsOut(Answer):
    """A page of sightings, the newest first."""

    sightings: list[SightingOut]
    next: str | None
    """The ``cursor`` of the next page; null: these are the last."""


class DecisionOut(Answer):
    """What an operation changed of a sighting."""

    at: datetime
    who: str
    kind: str
    operation: int
    undone: bool
    before: dict[str, Any]
    """``name``, ``person_id``, ``verdict``, ``reason``, ``fixed`` (by a human), ``ignored``."""
    after: dict[str, Any]
    cause: str
    """Why, in words."""

    @classmethod
    def of(cls, one: Decision) -> DecisionOut:
        return cls(**one.to_dict())


class WhyOut(Answer):
    """On what evidence a sighting was named, or why it was not."""

    sighting: SightingOut
    words: str = Field(examples=["The face is too small."])
    candidates: list[CandidateOut]
    """The most similar people of the gallery as it is now."""
    threshold: float
    margin: float
    max_sigma: float | None
    history: list[DecisionOut]
    """What was changed of it since it was seen, the oldest first."""


class HitOut(Answer):
    """A sighting that may show the face."""

    sighting: SightingOut
    similarity: float
    probability: float


class SearchOut(Answer):
    """Where a face was seen, the most similar first."""

    hits: list[HitOut]
    searched: int
    """With how many sightings it was compared."""
    threshold: float
    false_alarms: float | None
    """Of searches for somebody who was never there, the share that finds anything."""
    uncertainty: float
    poor: bool
    """The picture shows the face too poorly for a reliable search."""


@reading.get("/sightings")
def list_sightings(
    service: TheService,
    actor: TheActor,
    camera: Cameras = None,
    person: Annotated[list[int] | None, Query(max_length=100)] = None,
    name: Annotated[list[str] | None, Query(max_length=100)] = None,
    verdict: Annotated[list[Verdict] | None, Query(max_length=3)] = None,
    since: Time = None,
    until: Time = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> SightingsOut:
    """Who was seen, where and when."""
    if person is not None and any(not 0 < one < 2**63 for one in person):
        raise RequestRefused(422, "person: a person's id is 1 or more")
    wanted = SightingFilter(
        sources=_in_scope(actor, camera),
        since=in_utc(since),
        until=in_utc(until),
        names=_some(name),
        verdicts=_some(verdict),
        person_ids=_some(person),
    )
    page = service.sightings.page(wanted, limit=limit, cursor=cursor)
    shown = [SightingOut.of(one) for one in page.sightings]
    return SightingsOut(sightings=shown, next=page.cursor)


@reading.get("/sightings/{sighting_id}")
def get_sighting(sighting_id: Uid, service: TheService, actor: TheActor) -> SightingOut:
    """One sighting."""
    return SightingOut.of(found_sighting(service, actor, sighting_id))


@reading.get(
    "/sightings/{sighting_id}/pictures/{kind}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
)
def sighting_picture(
    sighting_id: Uid, kind: Literal["face", "frame"], service: TheService, actor: TheActor
) -> Response:
    """A picture of a sighting."""
    try:
        data = service.sightings.picture(found_sighting(service, actor, sighting_id).id, kind)
    except OSError as error:
        raise RequestRefused(404, "the picture cannot be read any more") from error
    if data is None:
        raise RequestRefused(404, "this sighting has no such picture")
    return Response(data, media_type="image/jpeg")


@reading.get("/sightings/{sighting_id}/why")
def why(sighting_id: Uid, service: TheService, actor: TheActor) -> WhyOut:
    """On what evidence a sighting was named, or why it was not."""
    one = found_sighting(service, actor, sighting_id)
    found = evidence_of(one, service.sightings, service.gallery, service.settings)
    candidates = [
        CandidateOut(
            person_id=person.person_id, name=person.name, similarity=round(person.similarity, 4)
        )
        for person in found.candidates
    ]
    limited = found.max_sigma if found.max_sigma != float("inf") else None
    return WhyOut(
        sighting=SightingOut.of(one),
        words=found.words,
        candidates=candidates,
        threshold=round(found.threshold, 4),
        margin=found.margin,
        max_sigma=limited,
        history=[DecisionOut.of(one) for one in found.history],
    )


@reading.post("/search", dependencies=[Examined], openapi_extra=form_with("image"))
async def search(
    service: TheService,
    actor: TheActor,
    request: Request,
    camera: Cameras = None,
    since: Time = None,
    until: Time = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SearchOut:
    """Where and when the largest face of a picture was seen, named or not."""
    async with uploaded(request, "image") as (picture,):
        result = await service.work.run(
            lambda: service.photo_search.search(
                decode_photo(picture.content),
                since=in_utc(since),
                until=in_utc(until),
                sources=_in_scope(actor, camera),
                limit=limit,
            )
        )
    found = result.found
    hits = [
        HitOut(
            sighting=SightingOut.of(hit.sighting),
            similarity=round(hit.similarity, 4),
            probability=round(hit.probability, 4),
        )
        for hit in found.hits
    ]
    return SearchOut(
        hits=hits,
        searched=found.searched,
        threshold=round(found.threshold, 4),
        false_alarms=found.false_alarms,
        uncertainty=round(result.sigma, 4),
        poor=result.poor,
    )


def found_sighting(service: Service, actor: Requester, sighting_id: str) -> Sighting:
    """A sighting within the actor's scope, by its whole id.

    Raises:
        RequestRefused: 404.
    """
    try:
        one = service.sightings.get(sighting_id)
    except UsageError as error:
        if error.__cause__ is not None:
            raise
        one = None
    # `get` takes the beginning of an id, too; out of scope is as if it were not there.
    if one is None or one.id != sighting_id or not actor.sees(one.source):
        raise RequestRefused(404, "there is no such sighting")
    return one


def _in_scope(actor: Requester, cameras: list[str] | None) -> tuple[str, ...] | None:
    if actor.cameras is None:
        return None if cameras is None else tuple(cameras)
    return tuple(actor.cameras if cameras is None else actor.cameras.intersection(cameras))


def _some(values: list[T] | None) -> tuple[T, ...] | None:
    return None if values is None else tuple(values)
