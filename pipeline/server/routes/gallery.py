"""The gallery as a whole: what costs names or gives wrong ones; faces that are learned."""

from __future__ import annotations

from typing import Literal

from fastapi import Request
from pydantic import Field

from ...gallery.directory import person_by_id
from ...gallery.findings import FindingKind, Mending
from ...gallery.records import PhotoReason
from ...sightings.enrolment import learn_sightings
from ...sightings.people import split_person
from ..dependencies import (
    TheActor,
    TheService,
    WholeHouse,
    action_of,
    changes,
    changing,
    entry_for,
    looks,
)
from ..models import Answer, Id
from .people import PersonId
from .sightings import found_sighting
from .unknown import SightingId

reading = looks("operator", "gallery")
writing = changes("operator", "gallery")
splitting = changes("operator", "gallery", WholeHouse)
routers = (reading, writing, splitting)


class FindingOut(Answer):
    """Something of the gallery that costs names or gives wrong ones."""

    kind: FindingKind
    person: str
    problem: bool
    """True where it gives wrong names or none; else a hint."""
    mending: Mending
    """What mends it."""
    photo_id: int | None = None
    """The photo, or the one by which it shows."""
    similarity: float | None = None
    """To the nearest other photo of the person."""
    other: str | None = None
    """The other person."""
    other_photo_id: int | None = None
    """The other picture of a duplicate."""
    other_similarity: float | None = None
    same_person: bool | None = None
    """Of people who resemble each other: they are probably one."""
    sigma: float | None = None
    photos: int | None = None
    """How many take part in recognition."""


class GalleryCheckOut(Answer):
    """What was found, the problems first."""

    people: int
    photos: int
    threshold: float
    """The similarity from which a face gets a name in this gallery."""
    findings: list[FindingOut]


class LearnIn(Answer):
    """Sightings whose faces become photos."""

    sightings: list[SightingId] = Field(min_length=1, max_length=100)


class LearnedOut(Answer):
    """What became of a sighting's face."""

    sighting: str
    photo_id: int | None
    """Null: it was refused."""
    reason: PhotoReason | None
    detail: str


class LearnedFacesOut(Answer):
    """What became of each face."""

    faces: list[LearnedOut]
    job: str | None
    """Looks for the person among past sightings; null where nothing was learned."""


class SplitPersonIn(Answer):
    """Photos that are somebody else's."""

    photos: list[Id] = Field(min_length=1, max_length=1000)
    name: str = Field(min_length=1, max_length=400, examples=["Grace Hopper"])
    """Of the other person, who is made."""


class SplitPersonOut(Answer):
    """Who was made."""

    person_id: int
    name: str
    sightings: int
    """How many of the first person's sightings are somebody else's, or nobody's, now."""


Order = Literal["problems", "all"]


@reading.get("/gallery/check")
def check(service: TheService, show: Order = "all") -> GalleryCheckOut:
    """People who may be one, photos of somebody else, and hints."""
    service.refresh()
    found = service.gallery.check(recognition=service.settings.recognition)
    shown = [FindingOut.copied(one) for one in found.findings if one.problem or show == "all"]
    return GalleryCheckOut(
        people=found.people,
        photos=found.photos,
        threshold=round(found.threshold, 4),
        findings=shown,
    )


@writing.post("/people/{person_id}/learn")
def learn(
    person_id: PersonId, body: LearnIn, service: TheService, actor: TheActor, request: Request
) -> LearnedFacesOut:
    """Make faces of sightings photos of a person, where they are clear and surely theirs."""
    name = person_by_id(service.gallery, person_id).name
    uids = [found_sighting(service, actor, one).id for one in body.sightings]
    entry = entry_for(request, action_of(request), f"person {person_id}")
    with changing(request, entry.target):
        done = learn_sightings(service.sightings, service.settings, name, uids)
    faces = [
        LearnedOut(
            sighting=one.path.name.removeprefix("sighting-"),
            photo_id=one.photo_id,
            reason=one.reason,
            detail=one.detail,
        )
        for one in done
    ]
    learned = any(one.accepted for one in done)
    job = service.reidentification.start(person_id, entry) if learned else None
    return LearnedFacesOut(faces=faces, job=job)


@splitting.post("/people/{person_id}/split")
def split(
    person_id: PersonId, body: SplitPersonIn, service: TheService, actor: TheActor, request: Request
) -> SplitPersonOut:
    """Make one person two: these photos are of another; past sightings are decided again."""
    name = person_by_id(service.gallery, person_id).name
    with changing(request, f"person {person_id}"):
        done = split_person(
            service.sightings, service.settings, name, body.photos, body.name, who=actor.name
        )
    return SplitPersonOut(person_id=done.person_id, name=done.name, sightings=done.sightings)
