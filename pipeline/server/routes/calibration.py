"""Thresholds that fit this gallery: found by a job, then stored or not."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field

from ...calibration import apply_calibration, calibrate, reset_calibration
from ..dependencies import TheActor, TheService, WholeHouse, changes, changing, looks, note_change
from ..jobs import Step
from ..models import Answer
from ..problems import RequestRefused
from .system import JobOut, started

reading = looks("viewer", "calibration", WholeHouse)
writing = changes("operator", "calibration", WholeHouse)
storing = changes("admin", "calibration")
routers = (reading, writing, storing)


class CalibrateIn(Answer):
    """How to calibrate."""

    false_alarms: float | None = Field(default=None, gt=0, lt=1, examples=[0.005])
    """Share of strangers who may get a name in one search; null: as set."""
    own_cohort: bool = False
    """Normalise similarities by the strangers that were seen here."""


class ApplyIn(Answer):
    """Which calibration."""

    calibration: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Of the job's result; only the newest can be applied."""


class CalibrationOut(Answer):
    """The calibration in force."""

    calibrated: bool
    """False: the model's thresholds hold."""
    created: str | None = None
    report: dict[str, Any] | None = None
    """The figures behind it."""


@reading.get("/calibration")
def get_calibration(service: TheService) -> CalibrationOut:
    """The calibration in force, with its figures."""
    found = service.sightings.calibrated()
    if found is None:
        return CalibrationOut(calibrated=False)
    stored = found.stored
    return CalibrationOut(calibrated=True, created=stored.created, report=stored.report)


@writing.post("/calibration", status_code=202)
def find(
    body: CalibrateIn, service: TheService, actor: TheActor, request: Request, response: Response
) -> JobOut:
    """Find thresholds that fit; nothing is changed until they are applied."""
    note_change(request, "calibration")
    number = secrets.token_hex(8)

    def work(step: Step) -> Mapping[str, Any]:
        step(0, 0)
        service.refresh()
        found = calibrate(
            service.gallery,
            service.sightings,
            service.analyzer.encoder.card,
            service.settings.recognition,
            false_alarms=body.false_alarms,
            with_own_cohort=body.own_cohort,
        )
        service.calibration = (number, found)
        applicable = found.stored is not None
        return {"calibration": number, "applicable": applicable, "report": found.report}

    return started(service.jobs.start("calibration", actor.name, work), response)


@storing.post("/calibration/apply")
def apply(body: ApplyIn, service: TheService, request: Request) -> CalibrationOut:
    """Store what the newest calibration found; it holds from now on."""
    newest = service.calibration
    if newest is None or newest[0] != body.calibration:
        raise RequestRefused(409, "this is not the newest calibration; calibrate anew")
    with changing(request, "calibration"):
        apply_calibration(service.sightings, newest[1])
    service.use_calibration()
    return get_calibration(service)


@storing.delete("/calibration")
def reset(service: TheService, request: Request) -> CalibrationOut:
    """Use the model's thresholds again."""
    with changing(request, "calibration"):
        reset_calibration(service.sightings)
    service.use_calibration()
    return get_calibration(service)
