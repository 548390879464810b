"""Routers of pages, and who may see and change what on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from ...access.roles import Requester, Role
from ...core.errors import UsageError
from ...sightings import Sighting
from ..dependencies import looked_up, needs
from ..problems import RequestRefused
from ..service import Service

PAGE: Final = "page"


def page_router(role: Role | None, *, noted: bool = False) -> APIRouter:
    """A router of pages for a role, outside the API's document.

    Args:
        role: None: everybody, also without a log-in.
        noted: each request is a look-up in the audit log; changes note themselves.
    """
    checks: list[Any] = [] if role is None else [Depends(needs(role))]
    if noted:
        checks.append(Depends(looked_up))
    return APIRouter(
        tags=[PAGE],
        dependencies=checks,
        include_in_schema=False,
        default_response_class=HTMLResponse,
    )


def sighting_for(service: Service, actor: Requester, uid: str) -> Sighting:
    """A sighting of a camera that the actor may see.

    Raises:
        RequestRefused: 404.
    """
    try:
        one = service.sightings.get(uid)
    except UsageError as error:
        if error.__cause__ is not None:
            raise
        one = None
    if one is None or one.id != uid or not actor.sees(one.source):
        raise RequestRefused(404, "there is no such sighting")
    return one


def need_all_cameras(actor: Requester) -> None:
    """Refuse who may see some cameras only what shows or changes those of all.

    Raises:
        RequestRefused: 403.
    """
    if actor.cameras is not None:
        raise RequestRefused(403, "this needs a log-in for all cameras")


def cameras_for(actor: Requester, chosen: Iterable[str]) -> tuple[str, ...] | None:
    """The cameras of a filter within the actor's scope; None: all."""
    wanted = {one for one in chosen if one}
    if actor.cameras is None:
        return tuple(sorted(wanted)) or None
    return tuple(sorted(wanted & actor.cameras if wanted else actor.cameras))
