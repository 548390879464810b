"""Log-in and log-out, and the files of the page."""

from __future__ import annotations

import mimetypes
from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from ..dependencies import TheActor, TheService
from ..problems import RequestRefused
from ..routes.session import LogInIn, log_in_user, log_out_user
from .rendering import STATIC, render, static_file, translate
from .routers import page_router
from .texts import N_

public = page_router(None)
leaving = page_router("viewer")
routers = (public, leaving)

_FOR_EVER = "public, max-age=31536000, immutable"
_FILES = frozenset(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.*"))


@public.get("/static/{name:path}")
def static(name: str, request: Request, v: str = "") -> Response:
    """A file of the page; with its version in the address it may be kept for ever."""
    if name not in _FILES:
        raise RequestRefused(404, "there is no such file")
    content, version = static_file(name)
    tag = f'"{version}"'
    headers = {"ETag": tag, "Cache-Control": _FOR_EVER if v == version else "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return Response(content, headers=headers, media_type=kind)


@public.get("/log-in")
def log_in_page(request: Request, next: str = "/") -> Response:
    """The form with name and password."""
    return render(request, "log_in.html", next=_inside(next), problem="")


@public.post("/log-in")
def log_in_form(
    request: Request,
    service: TheService,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Log in and go to where the user wanted to."""
    if not name.strip() or not password:
        problem = translate(request, N_("Enter a name and a password."))
        return render(request, "log_in.html", status=422, next=_inside(next), problem=problem)
    done = RedirectResponse(_inside(next), 303)
    try:
        log_in_user(LogInIn(name=name, password=password), service, request, done)
    except RequestRefused as refused:
        wrong = N_("The name or the password is wrong.")
        problem = translate(request, wrong) if refused.status == 401 else refused.detail
        return render(
            request,
            "log_in.html",
            status=refused.status,
            headers=refused.headers,
            next=_inside(next),
            problem=problem,
        )
    return done


@leaving.post("/log-out")
def log_out_form(actor: TheActor, service: TheService, request: Request) -> Response:
    """End the session."""
    done = Response(headers={"HX-Redirect": "/log-in"})
    log_out_user(actor, service, request, done)
    return done


def _inside(address: str) -> str:
    """A path of this service; the start for anything else."""
    if not address.startswith("/") or address[1:2] in ("/", "\\") or not address.isprintable():
        return "/"
    return address
