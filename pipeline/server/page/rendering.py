"""Templates as answers: texts, times, the token of forms, and headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from facestream.engines.errors import printable
from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ...access.roles import Requester
from ...access.users import csrf_token
from ...sightings.corrections import Corrections, undoable
from ..dependencies import service_of
from .texts import FINDINGS, LANGUAGES, STATES, VERDICTS, catalogue, language_of, reason_of, zone_of

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"
HEADERS: Final = {
    # Pictures that are dropped are shown from memory (blob:) before they are sent.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    # With no-referrer browsers send "Origin: null" with forms, which tells nothing.
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie, HX-Request, Accept-Language",
}


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """A template as an answer, in the viewer's language."""
    language = language_of(request)
    actor = request.scope.get("state", {}).get("actor")
    actor = actor if isinstance(actor, Requester) else None
    values = {
        "language": language,
        "languages": LANGUAGES,
        "me": actor,
        "my_name": "" if actor is None else actor.name.rpartition(":")[2],
        "csrf": _token(actor),
        "zone": zone_of(request),
        "path": request.url.path,
        "partial": is_partial(request),
        **context,
    }
    text = _environment(language).get_template(template).render(values)
    return HTMLResponse(text, status, headers={**HEADERS, **(headers or {})})


def is_partial(request: Request) -> bool:
    """Whether a part of a page is asked for, by htmx."""
    return request.headers.get("hx-request") == "true"


def last_change(request: Request, who: str) -> int | None:
    """The number of the newest change that can be undone, if it is this person's."""
    service = service_of(request)
    for one in Corrections(service.sightings, service.settings).operations(limit=20):
        if undoable(one):
            return one.id if one.who == who else None
    return None


def event_header(name: str, text: str) -> dict[str, str]:
    """A header that makes the page's script handle an event with a text."""
    return {"HX-Trigger": json.dumps({name: {"text": text}})}


def translate(request: Request, text: str, **values: object) -> str:
    """A text in the viewer's language; it is not escaped."""
    found = catalogue(language_of(request)).gettext(text)
    return found % values if values else found


@cache
def static_address(name: str) -> str:
    """The address of a file of ``static/``; it changes with its content."""
    return f"/static/{name}?v={static_file(name)[1]}"


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """Content and version of a file of ``static/``."""
    content = (STATIC / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


@cache
def _environment(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(catalogue(language), newstyle=True)  # type: ignore[attr-defined]

    def text(found: str | None) -> str:
        return catalogue(language).gettext(found) if found else ""

    made.globals |= {
        "static": static_address,
        "verdict_words": lambda key: text(VERDICTS.get(key, key)),
        "finding_words": lambda key: text(FINDINGS.get(key, key)),
        "state_words": lambda key: text(STATES.get(key, key)),
        "why_words": lambda one: text(reason_of(one)),
        "percent": lambda share: f"{share:.0%}",
    }
    made.filters |= {
        "shown": printable,
        "iso": lambda at: at.isoformat(),
        "local": _local,
        "day": _day,
        "clock": lambda at, zone: at.astimezone(zone).strftime("%H:%M"),
        "seconds": lambda value: f"{int(value) // 60}:{int(value) % 60:02d}",
    }
    return made


def _local(at: datetime, zone: Any) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _day(at: datetime, zone: Any) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d")


def _token(actor: Requester | None) -> str:
    if actor is None or not actor.credential or not actor.by_browser:
        return ""
    return csrf_token(actor.credential)
