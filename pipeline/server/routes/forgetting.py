"""Forgetting for good, receipts, and what is kept how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request, Response
from pydantic import Field, model_validator

from ...sightings.forget import ForgetPlan, ForgetRequest
from ...sightings.receipts import ErasureKind, Receipt, read_receipt, read_receipts
from ...sightings.retention import Retention
from ..dependencies import TheActor, TheService, WholeHouse, changes, changing, looks, note_change
from ..jobs import Step
from ..models import Answer, in_utc
from ..problems import RequestRefused
from ..service import Service
from .system import JobOut, started
from .unknown import SightingId

reading = looks("operator", "forgetting", WholeHouse)
writing = changes("operator", "forgetting", WholeHouse)
routers = (reading, writing)


class ForgetIn(Answer):
    """What is to be forgotten: exactly one of these."""

    person: str | None = Field(default=None, min_length=1, max_length=400)
    """A name: the person, all sightings with that name, and those without one that resemble."""
    sightings: list[SightingId] | None = Field(default=None, min_length=1, max_length=1000)
    """Ids."""
    before: datetime | None = None
    """Sightings that began before."""
    unknown_before: datetime | None = None
    """Sightings without a name that began before."""
    named: bool = False
    """The receipt keeps the person's name."""

    @model_validator(mode="after")
    def _one(self) -> ForgetIn:
        given = (self.person, self.sightings, self.before, self.unknown_before)
        if sum(one is not None for one in given) != 1:
            raise ValueError("give one of person, sightings, before and unknown_before")
        return self

    def request(self) -> ForgetRequest:
        return ForgetRequest(
            self.person,
            tuple(self.sightings or ()),
            in_utc(self.before),
            in_utc(self.unknown_before),
        )


class ForgetPlanOut(Answer):
    """What would be erased."""

    kind: ErasureKind
    name: str | None
    photos: int
    sightings: int
    sightings_without_name: int
    """Of them, those that only resemble the person's photos."""
    sightings_of_others: int
    """With another name, though they resemble the person: they stay."""
    pictures: int

    @classmethod
    def of(cls, plan: ForgetPlan) -> ForgetPlanOut:
        return cls(
            kind=plan.kind,
            name=None if plan.person is None else plan.person.name,
            photos=0 if plan.person is None else plan.person.photos,
            sightings=len(plan.sightings),
            sightings_without_name=plan.resembling,
            sightings_of_others=plan.others,
            pictures=plan.pictures,
        )


class ReceiptOut(Answer):
    """That something was erased; nobody is named unless that was asked for."""

    id: str
    at: str
    by: str
    kind: ErasureKind
    subject: str | None
    """Salted hash of the person's name."""
    name: str | None
    rows: dict[str, int]
    """How many of each table."""
    files: int
    outputs: dict[str, dict[str, int]]
    proof: dict[str, str] | None
    """The outcome of each check; null: it was interrupted, and the same request finishes it."""
    proved: bool
    out_of_reach: list[str]
    """What was not looked at."""

    @classmethod
    def of(cls, one: Receipt) -> ReceiptOut:
        values = one.to_dict()
        del values["schema"]
        return cls(**{**values, "out_of_reach": list(one.out_of_reach)}, proved=one.proved)


class ReceiptsOut(Answer):
    """Receipts, the newest first."""

    receipts: list[ReceiptOut]


class RetentionOut(Answer):
    """How long what is kept, and what is too old now."""

    limits: dict[str, float | None]
    """Seconds of ``known``, ``stranger``, ``unsure``, ``pictures``; bytes of ``max_size``."""
    sightings: dict[str, int]
    """Too old, by verdict."""
    pictures: int
    bytes: int


@writing.post("/forget/preview")
def preview(body: ForgetIn, service: TheService, request: Request) -> ForgetPlanOut:
    """What would be erased; nothing is changed."""
    note_change(request, "a preview")
    return ForgetPlanOut.of(service.forgetting().plan(body.request()))


@writing.post("/forget", status_code=202)
def forget(
    body: ForgetIn, service: TheService, actor: TheActor, request: Request, response: Response
) -> JobOut:
    """Erase for good and prove it; the job's result has the receipt."""
    plan = service.forgetting().plan(body.request())
    if plan.empty:
        raise RequestRefused(422, "there is nothing to forget")
    note_change(request, f"{plan.kind}: {len(plan.sightings)} sightings")

    def work(step: Step) -> Mapping[str, Any]:
        step(0, len(plan.sightings))
        with changing(request, plan.kind):
            receipt = service.forget(plan, by=actor.name, named=body.named)
        return {"receipt": ReceiptOut.of(receipt).model_dump(mode="json")}

    return started(service.jobs.start("forget", actor.name, work), response)


@reading.get("/receipts")
def list_receipts(service: TheService) -> ReceiptsOut:
    """What was erased, by whom and with which proof."""
    with service.sightings.reading() as connection:
        found = read_receipts(connection)
    return ReceiptsOut(receipts=[ReceiptOut.of(one) for one in reversed(found)])


@reading.get("/receipts/{receipt_id}")
def get_receipt(
    receipt_id: Annotated[str, Path(pattern=r"^[0-9a-z-]{1,64}$")], service: TheService
) -> ReceiptOut:
    """One receipt."""
    with service.sightings.reading() as connection:
        found = read_receipt(connection, receipt_id)
    if found is None:
        raise RequestRefused(404, "there is no such receipt")
    return ReceiptOut.of(found)


@reading.get("/retention")
def get_retention(service: TheService) -> RetentionOut:
    """How long what is kept, and how much is too old now."""
    limits = service.settings.storage.retention
    expired = _retention(service).expired()
    return RetentionOut(
        limits=limits.model_dump(),
        sightings=expired.sightings,
        pictures=expired.pictures,
        bytes=expired.bytes,
    )


@writing.post("/retention/run", status_code=202)
def run_retention(
    service: TheService, actor: TheActor, request: Request, response: Response
) -> JobOut:
    """Erase now what is too old or too much; the job's result has the receipt."""
    note_change(request, "retention")

    def work(step: Step) -> Mapping[str, Any]:
        step(0, 0)
        with changing(request, "retention"):
            receipt = _retention(service).enforce()
        done = None if receipt is None else ReceiptOut.of(receipt).model_dump(mode="json")
        return {"receipt": done}

    return started(service.jobs.start("retention", actor.name, work), response)


def _retention(service: Service) -> Retention:
    return Retention(service.sightings, service.settings.storage.retention)
