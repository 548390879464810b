"""People and their photos."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import Field

from ...gallery.directory import (
    Expected,
    count_people,
    create_person,
    merge_people,
    people_page,
    person_by_id,
    rename_person,
)
from ...gallery.records import Person
from ...sightings.forget import ForgetRequest
from ..dependencies import TheActor, TheService, WholeHouse, changes, changing, looks, name_in_log
from ..etags import check_match, tagged, unchanged
from ..models import Answer, Id
from ..problems import RequestRefused

reading = looks("viewer", "people")
writing = changes("operator", "people")
erasing = changes("operator", "people", WholeHouse)
routers = (reading, writing, erasing)

PersonId = Annotated[int, Path(ge=1, le=2**53)]


class MergedOut(Answer):
    """Someone who was merged into the person."""

    id: int
    name: str
    at: datetime


class PersonOut(Answer):
    """A person."""

    id: int = Field(examples=[7])
    """Stays the same when the person is renamed; never used again."""
    name: str = Field(examples=["Ada Lovelace"])
    created_at: datetime
    photos: int = Field(examples=[3])
    """How many are enrolled."""
    merged: tuple[MergedOut, ...] = ()

    @classmethod
    def of(cls, person: Person) -> PersonOut:
        merged = tuple(MergedOut(id=one.id, name=one.name, at=one.at) for one in person.merged)
        return cls(
            id=person.id,
            name=person.name,
            created_at=person.created_at,
            photos=person.photos,
            merged=merged,
        )


class PeopleOut(Answer):
    """A page of people, by name."""

    people: list[PersonOut]
    total: int
    """How many people there are in all."""
    next: str | None
    """The ``cursor`` of the next page; null: these are the last."""


class NameIn(Answer):
    """A person's name."""

    name: str = Field(min_length=1, max_length=400, examples=["Ada Lovelace"])


class MergeIn(Answer):
    """Who is taken in."""

    other: Id = Field(examples=[12])
    """The person whose photos and sightings the first one gets, and who is removed."""


@reading.get("/people")
def list_people(
    service: TheService,
    search: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> PeopleOut:
    """People by name; ``search`` keeps those whose names contain it."""
    page = people_page(service.gallery, limit=limit, cursor=cursor, search=search)
    people = [PersonOut.of(one) for one in page.people]
    return PeopleOut(people=people, total=count_people(service.gallery), next=page.cursor)


@reading.get(
    "/people/{person_id}",
    response_model=PersonOut,
    responses={304: {"description": "Not changed since the state of If-None-Match."}},
)
def get_person(
    person_id: PersonId, service: TheService, request: Request, response: Response
) -> PersonOut | Response:
    """One person, with an ETag."""
    person = PersonOut.of(person_by_id(service.gallery, person_id))
    if unchanged(request, person):
        return Response(status_code=304)
    tagged(response, person)
    return person


@writing.post("/people", status_code=201)
def create(body: NameIn, service: TheService, request: Request, response: Response) -> PersonOut:
    """Make a person, who is recognised once there are photos."""
    with changing(request, f"person {name_in_log(body.name)}"):
        person = PersonOut.of(create_person(service.gallery, body.name))
    response.headers["Location"] = f"/api/v1/people/{person.id}"
    tagged(response, person)
    return person


@writing.patch("/people/{person_id}")
def rename(
    person_id: PersonId, body: NameIn, service: TheService, request: Request, response: Response
) -> PersonOut:
    """Give a person another name; If-Match refuses it where somebody else was first."""
    with changing(request, f"person {person_id}"):
        changed = rename_person(service.gallery, person_id, body.name, expected=_expected(request))
    person = PersonOut.of(changed)
    tagged(response, person)
    return person


@erasing.delete("/people/{person_id}", status_code=204)
def delete(
    person_id: PersonId, service: TheService, actor: TheActor, request: Request, response: Response
) -> None:
    """Forget a person for good, with photos and sightings; Location is the receipt's address."""
    name = person_by_id(service.gallery, person_id).name
    plan = service.forgetting().plan(ForgetRequest(person=name))
    if plan.person is None or plan.person.id != person_id:
        raise RequestRefused(409, "the person got another name meanwhile; try again")
    check_match(request, PersonOut.of(plan.person))
    with changing(request, f"person {person_id}"):
        receipt = service.forget(plan, by=actor.name)
    response.headers["Location"] = f"/api/v1/receipts/{receipt.id}"


@writing.post("/people/{person_id}/merge")
def merge(
    person_id: PersonId, body: MergeIn, service: TheService, request: Request, response: Response
) -> PersonOut:
    """Make two people one, who keeps this id and name."""
    if body.other == person_id:
        raise RequestRefused(422, "a person cannot be merged with itself")
    with changing(request, f"person {person_id} takes in {body.other}"):
        kept = merge_people(service.gallery, person_id, body.other, expected=_expected(request))
    person = PersonOut.of(kept)
    tagged(response, person)
    return person


def _expected(request: Request) -> Expected:
    return lambda person: check_match(request, PersonOut.of(person))
