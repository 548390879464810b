"""What humans say of sightings, what was changed, and undo."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import Field, model_validator

from ...sightings.corrections import Corrections, Operation, undoable
from ..dependencies import TheActor, TheService, WholeHouse, changes, changing, looks
from ..models import Answer
from .sightings import SightingOut, Uid, found_sighting

reading = looks("viewer", "corrections", WholeHouse)
correcting = changes("operator", "corrections")
undoing = changes("operator", "corrections", WholeHouse)
routers = (reading, correcting, undoing)


class CorrectIn(Answer):
    """What a sighting is."""

    what: Literal["is", "is_not", "stranger", "ignore"]
    """``is`` and ``is_not`` need a name; ``ignore``: left out of lists, with what resembles it."""
    name: str | None = Field(default=None, min_length=1, max_length=400, examples=["Ada Lovelace"])
    enrol: bool = False
    """With ``is``: a clear picture becomes a photo, and the person is looked for in the past."""

    @model_validator(mode="after")
    def _fitting(self) -> CorrectIn:
        if (self.name is not None) != (self.what in ("is", "is_not")):
            raise ValueError("a name is for 'is' and 'is_not', which need one")
        if self.enrol and self.what != "is":
            raise ValueError("'enrol' is for 'is'")
        return self


class OperationOut(Answer):
    """Something that changed decisions."""

    id: int
    at: datetime
    who: str = Field(examples=["user:ada"])
    kind: str
    summary: str
    undone: bool
    undoable: bool
    """``POST /undo`` may come to it."""

    @classmethod
    def of(cls, one: Operation) -> OperationOut:
        return cls(
            id=one.id,
            at=one.at,
            who=one.who,
            kind=one.kind,
            summary=one.summary,
            undone=one.undone,
            undoable=undoable(one),
        )


class OperationsOut(Answer):
    """Operations, the newest first."""

    operations: list[OperationOut]


@correcting.post("/sightings/{sighting_id}/correct")
def correct(
    sighting_id: Uid, body: CorrectIn, service: TheService, actor: TheActor, request: Request
) -> SightingOut:
    """Say who a sighting is or is not; no machine decides on it again."""
    uid = found_sighting(service, actor, sighting_id).id
    corrections = Corrections(service.sightings, service.settings, who=actor.name)
    with changing(request, f"sighting {uid}"):
        corrections.correct(uid, body.what, body.name or "", enrol=body.enrol)
    return SightingOut.of(service.sightings.get(uid))


@reading.get("/operations")
def list_operations(
    service: TheService, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> OperationsOut:
    """Who changed which decisions, the newest first."""
    found = Corrections(service.sightings, service.settings).operations(limit=limit)
    return OperationsOut(operations=[OperationOut.of(one) for one in found])


@undoing.post("/undo")
def undo(
    service: TheService,
    actor: TheActor,
    request: Request,
    expected: Annotated[int | None, Query(ge=1)] = None,
) -> OperationOut:
    """Take the last operation back that was not undone; answers which one it was.

    With ``expected``, its ``id``, nothing is undone (409) if somebody did or undid something since.
    """
    corrections = Corrections(service.sightings, service.settings, who=actor.name)
    with changing(request, "the last operation" if expected is None else f"operation {expected}"):
        done = corrections.undo(expected=expected)
    return OperationOut.of(done)
