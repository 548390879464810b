"""Covers faces of videos and pictures that lie in ``server.media_folders``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field

from ...core.errors import ConfigError
from ...redaction import RedactionChoice, RedactionOptions, redact
from ...redaction.options import RedactionProgress
from ..dependencies import TheActor, TheService, WholeHouse, changes, note_change
from ..jobs import Step
from ..media import allowed_file
from ..models import Answer
from ..problems import RequestRefused
from .system import JobOut, started

writing = changes("operator", "redaction", WholeHouse)
routers = (writing,)

Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=400)]], Field(max_length=1000)]
FileName = Annotated[str, Field(min_length=3, max_length=1000, examples=["videos/party.mp4"])]


class RedactIn(Answer):
    """What is covered, and where it is written."""

    file: FileName
    """``FOLDER/…/FILE``: FOLDER is the last part of one of ``server.media_folders``."""
    out: FileName
    """The same; it must not exist."""
    keep: Names = Field(default=[])
    """Cover everybody but these people."""
    only: Names = Field(default=[])
    """Cover these people, and faces that may be theirs."""
    unknown: bool = False
    """Cover everybody without a name."""
    show_unsure: bool = False
    style: Literal["blur", "pixelate", "solid"] = "blur"
    margin: float = Field(default=1.5, ge=1, le=4)
    min_face: int = Field(default=20, ge=12, le=4096)
    audio: bool = True
    verify: int = Field(default=5, ge=0, le=1000)


@writing.post("/redact", status_code=202)
def redact_file(
    body: RedactIn, service: TheService, actor: TheActor, request: Request, response: Response
) -> JobOut:
    """Cover faces; the job's result is the report."""
    folders = service.settings.server.media_folders
    source = allowed_file(body.file, folders, exists=True)
    out = allowed_file(body.out, folders, exists=False)
    if out.exists():
        raise RequestRefused(409, "the file to write exists already")
    try:
        choice = RedactionChoice(
            frozenset(body.keep),
            frozenset(body.only),
            unknown=body.unknown,
            show_unsure=body.show_unsure,
        )
    except ConfigError as error:
        detail = "'keep' excludes 'only' and 'unknown'; 'show_unsure' is for 'only'"
        raise RequestRefused(422, detail) from error
    note_change(request, f"{body.file} to {body.out}")

    def work(step: Step) -> Mapping[str, Any]:
        def show(at: RedactionProgress) -> None:
            step(at.frames, at.total or 0)

        options = RedactionOptions(
            choice=choice,
            style=body.style,
            margin=body.margin,
            min_face=body.min_face,
            audio=body.audio,
            verify=body.verify,
            on_progress=show,
        )
        report = redact(source, out, options, gallery=service.gallery, settings=service.settings)
        return {**report.to_dict(), "source": body.file, "out": body.out}

    return started(service.jobs.start("redact", actor.name, work), response)
