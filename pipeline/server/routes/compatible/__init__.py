"""APIs of other servers, which many video recorders already speak; off by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from starlette.types import ASGIApp

from . import compreface, compreface_people, deepstack
from .dialect import Dialect, SpokenDialects

_DIALECTS: Final[dict[str, Dialect]] = {
    "deepstack": deepstack.DIALECT,
    "compreface": compreface.DIALECT,
}
ROUTERS: Final[dict[str, tuple[APIRouter, ...]]] = {
    "deepstack": deepstack.routers,
    "compreface": (*compreface.routers, *compreface_people.routers),
}


def routers(names: Sequence[str]) -> list[APIRouter]:
    """The routes of these APIs."""
    return [router for name in dict.fromkeys(names) for router in ROUTERS[name]]


def spoken_by(app: ASGIApp, names: Sequence[str]) -> ASGIApp:
    """The application, whose keys and errors are as these APIs have them on their routes."""
    return SpokenDialects(app, [_DIALECTS[name] for name in names]) if names else app
