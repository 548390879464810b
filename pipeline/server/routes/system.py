"""Health, metrics, what serves, settings, and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field, JsonValue

from ...observability.runtime_info import RuntimeInfo
from ..configuration import changeable_settings
from ..dependencies import PROBLEMS, TheActor, TheService, changes, looks, needs, note_change
from ..jobs import Job, JobState, Step
from ..metrics import CONTENT_TYPE
from ..models import Answer

public = APIRouter(tags=["health"], responses=PROBLEMS)
scraping = APIRouter(tags=["health"], dependencies=[Depends(needs("viewer"))], responses=PROBLEMS)
viewing = looks("viewer", "system")
managing = looks("operator", "jobs")
administering = looks("admin", "system")
working = changes("operator", "jobs")
configuring = changes("admin", "system")
routers = (public, scraping, viewing, managing, administering, working, configuring)

JobId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]


class HealthOut(Answer):
    """The process answers."""

    status: str = Field(examples=["ok"])


class ReadyOut(Answer):
    """What was tried just now, and works."""

    status: str = Field(examples=["ready"])
    checks: dict[str, str] = Field(examples=[{"inference": "1 face found in a portrait"}])


class EngineOut(Answer):
    """What runs a network."""

    network: str
    backend: str
    device: str
    precision: str


class EnginesOut(Answer):
    """What serves, and why."""

    engines: list[EngineOut]
    index: str
    """How people are searched."""
    summary: str


class JobOut(Answer):
    """Work in the background."""

    id: str
    kind: str = Field(examples=["re-embed"])
    state: JobState
    done: int
    total: int
    """0: not known."""
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> JobOut:
        return cls(
            id=job.id,
            kind=job.kind,
            state=job.state,
            done=job.done,
            total=job.total,
            result=None if job.result is None else dict(job.result),
            error=job.error,
            created_at=job.created_at,
            ended_at=job.ended_at,
        )


class SettingsIn(Answer):
    """Settings to change."""

    values: dict[Annotated[str, Field(max_length=100)], JsonValue] = Field(
        min_length=1, max_length=100, examples=[{"recognition.false_alarms": 0.005}]
    )
    """By dotted keys; null is the value of the settings file again."""


class ChangeableOut(Answer):
    """Settings that may be changed while the service runs."""

    keys: list[str]
    changed: dict[str, Any]


class JobsOut(Answer):
    """The newest jobs first."""

    jobs: list[JobOut]


@public.get("/healthz")
async def healthz() -> HealthOut:
    """The process answers; says nothing of what it does."""
    return HealthOut(status="ok")


@public.get("/readyz")
async def readyz(service: TheService) -> ReadyOut:
    """A real inference, a real search and the database work; tried at most every 5 seconds."""
    return ReadyOut(status="ready", checks=await service.work.run(service.ready))


@scraping.get("/metrics", response_class=Response)
def metrics(service: TheService) -> Response:
    """Metrics for Prometheus: of the service, and of the run of the cameras."""
    return Response(service.metrics.text(service.cameras.registry()), media_type=CONTENT_TYPE)


@viewing.get("/engines")
def engines(service: TheService) -> EnginesOut:
    """What runs the networks and the search."""
    running = service.analyzer.engines
    index = service.gallery.index_info()
    info = RuntimeInfo(
        running, index=service.gallery.index_info, serving=service.settings.runtime.serving()
    )
    rows = [
        EngineOut(network=name, backend=one.backend, device=one.device, precision=one.precision)
        for name, one in running.items()
    ]
    return EnginesOut(engines=rows, index=f"{index.kind} on {index.device}", summary=info.line())


@administering.get("/settings")
def settings(service: TheService) -> dict[str, Any]:
    """The settings in force; secrets are hidden."""
    return service.settings.model_dump(mode="json")


@administering.get("/settings/changeable")
def changeable(service: TheService) -> ChangeableOut:
    """The settings that may be changed while the service runs, and which were."""
    return ChangeableOut(keys=changeable_settings(), changed=service.configuration.changed)


@configuring.patch("/settings")
def change_settings(body: SettingsIn, service: TheService, request: Request) -> dict[str, Any]:
    """Change settings, which are kept; the cameras connect again. Answers what is in force."""
    note_change(request, ", ".join(sorted(body.values)))
    service.configuration.change_settings(body.values)
    return service.settings.model_dump(mode="json")


@managing.get("/jobs")
def list_jobs(service: TheService) -> JobsOut:
    """Jobs that run or wait, and the newest hundred that ended."""
    return JobsOut(jobs=[JobOut.of(job) for job in service.jobs.all()])


@managing.get("/jobs/{job_id}")
def get_job(job_id: JobId, service: TheService) -> JobOut:
    """One job and its progress."""
    return JobOut.of(service.jobs.get(job_id))


@working.delete("/jobs/{job_id}")
def cancel_job(job_id: JobId, service: TheService, request: Request) -> JobOut:
    """End a job at its next step."""
    note_change(request, job_id)
    return JobOut.of(service.jobs.cancel(job_id))


@working.post("/gallery/re-embed", status_code=202)
def re_embed(service: TheService, actor: TheActor, request: Request, response: Response) -> JobOut:
    """Embed all faces with the model in use; the ones in use serve until that is done."""
    note_change(request, "gallery")

    def work(step: Step) -> Mapping[str, Any]:
        return {"photos": service.gallery.re_embed(progress=step)}

    return started(service.jobs.start("re-embed", actor.name, work), response)


def started(job: Job, response: Response) -> JobOut:
    """The answer to a request that started a job."""
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return JobOut.of(job)
