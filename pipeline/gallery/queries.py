"""Queries that several of the store's methods share, on a session of theirs."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..core.errors import PersonNotFound
from ..core.types import Image
from .names import name_key, printable, suggestions
from .records import Person, Photo
from .schema import MetaRow, PersonRow, PhotoRow


def model_id(session: Session) -> str | None:
    """The model in use; None while there are no photos, so that any model may begin."""
    return session.scalar(
        select(MetaRow.value).where(MetaRow.key == "model_id", select(PhotoRow.id).exists())
    )


def set_model(session: Session, model_id: str) -> None:
    """Use this model from now on."""
    session.merge(MetaRow(key="model_id", value=model_id))


def people(session: Session, person_id: int | None = None) -> Iterator[Person]:
    """Everybody, or one person, with the number of photos."""
    query = (
        select(PersonRow.id, PersonRow.name, PersonRow.created_at, func.count(PhotoRow.id))
        .outerjoin(PersonRow.photos)
        .group_by(PersonRow.id)
    )
    if person_id is not None:
        query = query.where(PersonRow.id == person_id)
    for row in session.execute(query):
        yield Person(*row)


def lookup(session: Session, name: str) -> PersonRow | None:
    """The person of that name, or None."""
    return session.scalar(select(PersonRow).where(PersonRow.name_key == name_key(name)))


def find(session: Session, name: str) -> PersonRow:
    """The person of that name.

    Raises:
        PersonNotFound: names the people with a similar name.
    """
    row = lookup(session, name)
    if row is not None:
        return row
    known = list(session.scalars(select(PersonRow.name)))
    shown = printable(name)
    if not known:
        hint = "the gallery is empty"
    elif near := suggestions(name, known):
        hint = "did you mean " + " or ".join(f"'{other}'" for other in near) + "?"
    else:
        hint = "'facestream gallery list' shows who is there"
    raise PersonNotFound(f"there is nobody called '{shown}' in the gallery; {hint}")


def photo(row: PhotoRow) -> Photo:
    """The row as a record."""
    return Photo(
        id=row.id,
        person_id=row.person_id,
        path=row.path,
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        box=row.box,
        landmarks=row.landmarks.reshape(5, 2),
        score=row.score,
        created_at=row.created_at,
    )


def encoded(crop: Image) -> bytes:
    """PNG: without loss, so that embedding it again gives what the photo gave."""
    done, data = cv2.imencode(".png", crop)
    if not done:
        raise ValueError(f"a crop of shape {crop.shape} cannot be kept as PNG")
    return bytes(data)
