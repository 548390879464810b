"""Logging in and out, and who asks."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import Field

from ...access.roles import Requester, Role
from ...access.users import SESSION_HOURS, csrf_token, log_in, log_out
from ...storage.audit import AuditEntry, audited
from ..authentication import PLAIN_COOKIE, SECURE_COOKIE, client_of, session_cookie
from ..dependencies import API, PROBLEMS, TheActor, TheService, changes, changing, looks
from ..models import Answer, camera_list
from ..problems import RequestRefused

entrance = APIRouter(prefix=API, tags=["session"], responses=PROBLEMS)
asking = looks("viewer", "session")
leaving = changes("viewer", "session")
routers = (entrance, asking, leaving)


class LogInIn(Answer):
    """A user's name and password."""

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class SessionOut(Answer):
    """Who asks, and what they may do."""

    name: str = Field(examples=["user:ada"])
    role: Role
    cameras: list[str] | None
    """Null: all."""
    csrf: str | None
    """Of a log-in: what each change must send as X-CSRF-Token."""

    @classmethod
    def of(cls, actor: Requester) -> SessionOut:
        cookie = bool(actor.credential) and actor.by_browser
        return cls(
            name=actor.name,
            role=actor.role,
            cameras=camera_list(actor.cameras),
            csrf=csrf_token(actor.credential) if cookie else None,
        )


@entrance.post("/session")
def log_in_user(
    body: LogInIn, service: TheService, request: Request, response: Response
) -> SessionOut:
    """Log in; the answer sets a cookie, and ends the session of the one that was sent."""
    address = client_of(request)
    secure = request.url.scheme == "https"
    if not secure and not service.address.loopback:
        raise RequestRefused(403, "a log-in needs TLS; see --tls-cert, or use a reverse proxy")
    for name in (address, f"user {body.name.casefold()}"):
        if (seconds := service.failures.wait(name)) > 0:
            wait = str(int(seconds) + 1)
            raise RequestRefused(429, "too many wrong passwords", Retry_After=wait)
    entry = AuditEntry(f"user:{body.name}", "log_in", address=address)
    with audited(entry):
        done = log_in(service.sightings, body.name, body.password, replaces=session_cookie(request))
    if done is None:
        service.failures.take(address)
        service.failures.take(f"user {body.name.casefold()}")
        service.lookups.note(AuditEntry("unknown", "refused", "log_in", address=address))
        raise RequestRefused(401, "the name or the password is wrong")
    actor, cookie = done
    response.set_cookie(
        SECURE_COOKIE if secure else PLAIN_COOKIE,
        cookie,
        max_age=SESSION_HOURS * 3600,
        httponly=True,
        secure=secure,
        samesite="strict",
    )
    return SessionOut.of(actor)


@asking.get("/session")
def who_am_i(actor: TheActor) -> SessionOut:
    """Who asks, and what they may do."""
    return SessionOut.of(actor)


@leaving.delete("/session", status_code=204)
def log_out_user(
    actor: TheActor, service: TheService, request: Request, response: Response
) -> None:
    """End the session."""
    if actor.credential and actor.by_browser:
        with changing(request):
            log_out(service.sightings, actor.credential)
    for name in (SECURE_COOKIE, PLAIN_COOKIE):
        response.delete_cookie(name, secure=name == SECURE_COOKIE, httponly=True)
