"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import logging
import secrets
from http import HTTPStatus
from typing import Any

from facestream.engines.errors import EngineError, printable
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DatabaseError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ..core.errors import (
    ChangedSince,
    FacestreamError,
    GalleryError,
    ImageError,
    ModelMismatch,
    PersonExists,
    PersonNotFound,
    UsageError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What was wrong with a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = "about:blank"
    title: str = Field(examples=["Not Found"])
    """The status in words."""
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no person 7"])
    """What was wrong, in one line."""
    reason: str | None = None
    """A word for programs, e.g. ``no_face``; null where there is none."""
    id: str | None = None
    """Of an error of the server: its line in the log has it, too."""
    errors: list[dict[str, Any]] | None = None
    """Which fields cannot be used: ``at`` and ``message`` each."""


class RequestRefused(Exception):
    """A request that is answered with a problem.

    Attributes:
        status: of HTTP.
        detail: in one line.
        reason: a word for programs.
        headers: of the answer.
    """

    def __init__(
        self, status: int, detail: str, *, reason: str | None = None, **headers: str
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> JSONResponse:
        """The answer."""
        return problem(self.status, self.detail, reason=self.reason, headers=self.headers)


def problem(
    status: int,
    detail: str,
    *,
    reason: str | None = None,
    error_id: str | None = None,
    errors: list[dict[str, Any]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An answer that says what was wrong."""
    content = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=printable(detail),
        reason=reason,
        id=error_id,
        errors=errors,
    )
    body = content.model_dump(exclude_none=True)
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def internal_error(error: BaseException, *, what: str) -> JSONResponse:
    """The answer to a request that failed here; the log has the rest."""
    error_id = secrets.token_hex(8)
    log.error("error %s in %s", error_id, printable(what), exc_info=error)
    return problem(500, f"the server failed; its log has the error {error_id}", error_id=error_id)


def unavailable(error: BaseException) -> JSONResponse:
    """The answer where database or engine do not serve at the moment."""
    error_id = secrets.token_hex(8)
    log.warning("error %s: %s", error_id, error)
    detail = f"the service cannot answer at the moment; its log has the error {error_id}"
    return problem(503, detail, error_id=error_id, headers={"Retry-After": "5"})


def answer_to(error: FacestreamError) -> JSONResponse:
    """The answer that an error of the library means."""
    if isinstance(error, ImageError):
        return problem(422, str(error), reason=error.reason)
    if isinstance(error, PersonNotFound):
        return problem(404, str(error))
    if isinstance(error, (PersonExists, ModelMismatch, ChangedSince)):
        return problem(409, str(error))
    # A message about the database names its path.
    if isinstance(error, GalleryError) and isinstance(error.__cause__, DatabaseError):
        return unavailable(error)
    if isinstance(error, UsageError):
        return problem(422, str(error))
    return unavailable(error)


def handle_errors(app: FastAPI) -> None:
    """Answer every error of the routes with a problem."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        return problem(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"at": [str(part) for part in one["loc"]], "message": one["msg"]}
            for one in error.errors()
        ]
        first = errors[0]
        where = ".".join(first["at"][1:]) or first["at"][0]
        return problem(422, f"{where}: {first['message']}", errors=errors)

    @app.exception_handler(RequestRefused)
    async def _refused(request: Request, error: RequestRefused) -> JSONResponse:
        return error.response()

    @app.exception_handler(FacestreamError)
    async def _library(request: Request, error: FacestreamError) -> JSONResponse:
        return answer_to(error)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        return internal_error(error, what=f"{request.method} {request.url.path}")

    @app.exception_handler(EngineError)
    async def _engine(request: Request, error: EngineError) -> JSONResponse:
        return unavailable(error)
