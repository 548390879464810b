"""The database as a whole: check, backup, encryption."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response

from ...core.errors import UsageError
from ...sightings.backup import back_up
from ...sightings.encryption import Encryption
from ...sightings.maintenance import check_database
from ...storage.vault import EncryptionState
from ..dependencies import TheActor, TheService, changes, looks, note_change
from ..jobs import Step
from ..models import Answer
from .system import JobOut, started

checking = changes("operator", "database")
saving = changes("admin", "database")
reading = looks("admin", "database")
routers = (checking, saving, reading)


class DataKeyOut(Answer):
    """A data key of the database."""

    id: int
    state: str
    created_at: datetime


class EncryptionOut(Answer):
    """How the database is encrypted."""

    state: EncryptionState
    user_key: str | None
    """Fingerprint of the key that opens it; null where it is ``off``."""
    given_key: str | None
    """Fingerprint of the key that the service was given."""
    data_keys: list[DataKeyOut]
    to_do: int
    """Rows and pictures that a change still has to encrypt or decrypt."""


@checking.post("/database/check", status_code=202)
def check(service: TheService, actor: TheActor, request: Request, response: Response) -> JobOut:
    """Check the database, and compare the pictures with what was written."""
    note_change(request, "database")

    def work(step: Step) -> Mapping[str, Any]:
        found = check_database(service.sightings, progress=lambda done, *, total: step(done, total))
        return {"findings": [one.to_dict() for one in found]}

    return started(service.jobs.start("database check", actor.name, work), response)


@saving.post("/database/backup", status_code=202)
def backup(service: TheService, actor: TheActor, request: Request, response: Response) -> JobOut:
    """Write the database and its pictures into a file of the folder of backups."""
    folder = service.settings.server.backup_folder
    if folder is None or not folder.is_dir():
        raise UsageError("server.backup_folder is not set, or is no folder")
    target = folder / f"facestream-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar"
    note_change(request, target.name)

    def work(step: Step) -> Mapping[str, Any]:
        step(0, 0)
        count = back_up(
            service.sightings, target, progress=lambda done, *, total: step(done, total)
        )
        return {"file": target.name, "pictures": count, "bytes": target.stat().st_size}

    return started(service.jobs.start("backup", actor.name, work), response)


@reading.get("/encryption")
def encryption(service: TheService) -> EncryptionOut:
    """Whether templates and pictures are encrypted, and by which keys."""
    found = Encryption(service.sightings).status()
    keys = [DataKeyOut(id=k.id, state=k.state, created_at=k.created_at) for k in found.data_keys]
    return EncryptionOut(
        state=found.state,
        user_key=found.user_key,
        given_key=found.given_key,
        data_keys=keys,
        to_do=found.to_do,
    )
