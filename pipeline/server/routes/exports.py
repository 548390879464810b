"""Sightings and presence as files, and the digest of a day."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date
from typing import IO, Annotated, Any, Final, Literal

from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from ...access.roles import Requester
from ...exports.digest import digest_mail, digest_of, digest_page
from ...exports.files import MEDIA_TYPES, Format, What, export
from ...sightings import SightingFilter
from ..dependencies import TheActor, TheService, looks
from ..models import in_utc
from .sightings import Cameras, Time

reading = looks("viewer", "exports")
routers = (reading,)

_SPOOL: Final = 1 << 20
_CHUNK: Final = 1 << 16


def _files(*kinds: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"content": {kind.partition(";")[0]: binary for kind in kinds}}}


@reading.get(
    "/exports/{what}", response_class=StreamingResponse, responses=_files(*MEDIA_TYPES.values())
)
def export_file(
    what: What,
    service: TheService,
    actor: TheActor,
    format: Format = "csv",
    camera: Cameras = None,
    since: Time = None,
    until: Time = None,
) -> StreamingResponse:
    """Sightings, or when people with a name were there (``presence``), as a file."""
    wanted = SightingFilter(sources=_seen(actor, camera), since=in_utc(since), until=in_utc(until))
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115  # closed by _sent
    try:
        export(service.sightings, what, format, wanted, file)  # type: ignore[arg-type]
    except BaseException:
        file.close()
        raise
    ending = "ics" if format == "ical" else format
    return StreamingResponse(
        _sent(file),
        media_type=MEDIA_TYPES[format],
        headers={"Content-Disposition": f'attachment; filename="{what}.{ending}"'},
    )


@reading.get("/digest", response_class=Response, responses=_files("text/html", "message/rfc822"))
def digest(
    service: TheService,
    actor: TheActor,
    day: Annotated[date, Query(description="Of the server's zone.")],
    format: Literal["html", "eml"] = "html",
    camera: Cameras = None,
) -> Response:
    """Who was seen on a day, with pictures, as a page or a mail."""
    found = digest_of(service.sightings, day, sources=_seen(actor, camera))
    made = (digest_page if format == "html" else digest_mail)(found, service.sightings)
    return Response(
        made,
        media_type="text/html" if format == "html" else "message/rfc822",
        headers={"Content-Disposition": f'attachment; filename="digest-{day}.{format}"'},
    )


def _seen(actor: Requester, cameras: list[str] | None) -> tuple[str, ...] | None:
    """The cameras that are asked for and may be seen; None: all."""
    if cameras is None:
        return None if actor.cameras is None else tuple(actor.cameras)
    return tuple(one for one in cameras if actor.sees(one))


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
