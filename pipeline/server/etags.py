"""ETags: which state of a thing a client has seen, and changes only of that state."""

from __future__ import annotations

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

from .problems import RequestRefused


def etag_of(answer: BaseModel) -> str:
    """The tag of an answer; it changes with its content."""
    return f'"{hashlib.sha256(answer.model_dump_json().encode()).hexdigest()[:24]}"'


def tagged(response: Response, answer: BaseModel) -> None:
    """Send the answer's tag."""
    response.headers["ETag"] = etag_of(answer)
    response.headers["Cache-Control"] = "private, no-cache"


def unchanged(request: Request, answer: BaseModel) -> bool:
    """True when the client has this state already (If-None-Match)."""
    given = request.headers.get("if-none-match", "")
    return etag_of(answer) in _tags(given) or given.strip() == "*"


def check_match(request: Request, answer: BaseModel) -> None:
    """Refuse a change of another state than the client has seen (If-Match).

    Raises:
        RequestRefused: 412.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*" or etag_of(answer) in _tags(given):
        return
    raise RequestRefused(412, "it was changed meanwhile; read it again")


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
