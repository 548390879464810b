"""Pictures that are sent as a form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from facestream.engines.errors import printable
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from .problems import RequestRefused

LONGEST_NAME: Final = 200
MOST_PHOTOS: Final = 100


@dataclass(frozen=True, slots=True)
class UploadedPicture:
    """A picture file that somebody sent; ``name`` is what they call it, without folders."""

    name: str
    content: bytes


@asynccontextmanager
async def opened_form(request: Request, *, files: int) -> AsyncIterator[FormData]:
    """A form of a request; parts above a megabyte wait in files without a name.

    Raises:
        RequestRefused: 400 it cannot be read.
    """
    try:
        form = await request.form(max_files=files, max_fields=16, max_part_size=4096)
    except HTTPException as error:
        raise RequestRefused(400, f"the form cannot be read: {error.detail}") from error
    except (KeyError, ValueError, AssertionError) as error:
        raise RequestRefused(400, "the form cannot be read") from error
    try:
        yield form
    finally:
        await form.close()


@asynccontextmanager
async def uploaded(request: Request, *fields: str, most: int = 1) -> AsyncIterator[list[Any]]:
    """The pictures of a form's fields, in the order of the fields; nothing of it is kept.

    Args:
        most: pictures of each field.

    Raises:
        RequestRefused: 415 it is no form; 422 a picture is missing.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise RequestRefused(415, "send the picture as multipart/form-data")
    async with opened_form(request, files=most * len(fields)) as form:
        found = []
        for field in fields:
            pictures = await pictures_of(form.getlist(field))
            if not pictures:
                raise RequestRefused(422, f"the form has no file in the field '{field}'")
            found += pictures
        yield found


async def pictures_of(values: Iterable[UploadFile | str]) -> list[UploadedPicture]:
    """The picture files among the values of a form."""
    files = [one for one in values if isinstance(one, UploadFile)]
    return [UploadedPicture(_name(one, row), await one.read()) for row, one in enumerate(files)]


def form_with(*fields: str, several: bool = False) -> dict[str, Any]:
    """The part of the OpenAPI document about a form with pictures."""
    picture = {"type": "string", "format": "binary"}
    value = {"type": "array", "items": picture, "minItems": 1} if several else picture
    schema = {
        "type": "object",
        "properties": dict.fromkeys(fields, value),
        "required": list(fields),
    }
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _name(file: UploadFile, row: int) -> str:
    last = re.split(r"[\\/]", file.filename or "")[-1]
    name = printable(last[:LONGEST_NAME]).strip()
    return name if name.strip(".") else f"picture-{row + 1}"
