"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from ...access.audit_log import newest_audit, read_audit, verify_audit
from ..dependencies import TheService, looks
from ..models import Answer

reading = looks("admin", "audit")
routers = (reading,)


class AuditOut(Answer):
    """An entry of the audit log."""

    id: int
    at: datetime
    actor: str
    address: str
    action: str
    target: str
    reason: str
    hash: str


class AuditPageOut(Answer):
    """Entries, the newest first."""

    entries: list[AuditOut]
    next: int | None
    """``before`` of the next page; null: these are the oldest."""


class VerifiedOut(Answer):
    """Whether the audit log is whole."""

    entries: int
    head: str
    """Hash of the last entry; kept elsewhere, it proves later what was there."""
    problem: str | None


@reading.get("/audit")
def list_audit(
    service: TheService,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPageOut:
    """Who did or looked up what, the newest first."""
    found = newest_audit(service.sightings, before=before, limit=limit)
    after = found[-1].id if found and found[-1].id > 1 else None
    return AuditPageOut(entries=[AuditOut.copied(one) for one in found], next=after)


@reading.get("/audit/verify")
def verify(service: TheService) -> VerifiedOut:
    """Compute the chain anew."""
    found = verify_audit(service.sightings)
    return VerifiedOut(entries=found.entries, head=found.head, problem=found.problem or None)


@reading.get(
    "/audit/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def export(service: TheService) -> StreamingResponse:
    """The whole log, a line of JSON for each entry, the oldest first."""

    def lines() -> Iterator[str]:
        for entry in read_audit(service.sightings):
            yield AuditOut.copied(entry).model_dump_json() + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
