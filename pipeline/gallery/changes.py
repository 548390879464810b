"""The gallery's log of changes, by which an index is updated instead of rebuilt.

Each change increments the generation and adds a row to ``meta``: a random stamp, the kind of
change, and the id of the person, or of the photo if only that is removed or set aside. Two copies
of one gallery that were changed separately have different stamps, so the state of one is never
taken for a state of the other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from ..storage.schema import MetaRow, PersonRow, PhotoRow
from .notes import ALWAYS, Validity, read_validity, without_aside
from .templates import Templates, read_templates

ChangeKind = Literal[
    "added", "removed", "renamed", "photo_removed", "merged", "model", "restored", "dated"
]

# Rows of the log, 50 bytes each. An index that is further behind is rebuilt.
LOG_LENGTH = 4096
# After these no index is updated.
_REREAD = {"merged", "model", "restored"}
_PREFIX = "change/"
_END = "change0"  # the character after "/"


@dataclass(frozen=True, slots=True)
class Head:
    """A state of a gallery: the number of changes, and the last one's random stamp.

    The stamp is empty when a facestream without a log made that change.
    """

    generation: int
    stamp: str


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The templates of the model in use, at one moment.

    Attributes:
        head: the state of the gallery.
        model_id: None when nothing was ever added.
        names: person id to name.
        templates: of the photos that take part in recognition, now or at some time.
        validity: of these, when they do.
    """

    head: Head
    model_id: str | None
    names: dict[int, str]
    templates: Templates
    validity: Validity = field(default=ALWAYS, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class Delta(Snapshot):
    """The changes since an earlier state: new photos, new or changed names, removed people and
    photos."""

    removed: frozenset[int]
    removed_photos: frozenset[int]


def model_in_use(session: Session) -> str | None:
    """The model; None while there are no photos, so that any model may begin."""
    return session.scalar(
        select(MetaRow.value).where(MetaRow.key == "model_id", select(PhotoRow.id).exists())
    )


def read_snapshot(
    session: Session, *, columns: Literal["mu", "both"] = "mu", aside: bool = False
) -> Snapshot:
    """All templates of the model in use, with ``aside`` also those of photos that are set aside;
    see ``read_templates``."""
    model_id = model_in_use(session)
    templates = read_templates(session, model_id, columns=columns)
    if not aside:
        templates = without_aside(session, templates)
    people = session.connection().exec_driver_sql("SELECT id, name FROM people").fetchall()
    names = {row[0]: row[1] for row in people}
    validity = read_validity(session)
    return Snapshot(read_head(session), model_id, names, templates, validity=validity)


def read_delta(session: Session, *, since: Head, after: int, model_id: str | None) -> Delta | None:
    """The changes; None when all must be read again: the log does not reach that far, photos went
    to another person or were restored, or the model is another.

    ``after`` is the largest photo id and ``model_id`` the model of the state ``since``.
    """
    log = _entries(session, since)
    if log is None or model_in_use(session) != model_id or log.keys() & _REREAD:
        return None
    templates = without_aside(session, read_templates(session, model_id, after=after))
    # The log holds at most LOG_LENGTH people, fewer than SQLite takes variables.
    renamed = PersonRow.id.in_(log.get("added", set()) | log.get("renamed", set()))
    people = session.execute(select(PersonRow.id, PersonRow.name).where(renamed))
    names = {row.id: row.name for row in people}
    removed = frozenset(log.get("removed", ()))
    photos = frozenset(log.get("photo_removed", ()))
    validity = read_validity(session)
    head = read_head(session)
    return Delta(head, model_id, names, templates, removed, photos, validity=validity)


def read_head(session: Session) -> Head:
    """The state now."""
    now = _generation(session)
    row = session.scalar(select(MetaRow.value).where(MetaRow.key == _key(now)))
    return Head(now, "" if row is None else row.split()[0])


def log_change(session: Session, kind: ChangeKind, person_id: int = 0) -> None:
    """Count a change, so that others see that their index is old, and log it."""
    session.execute(
        update(MetaRow)
        .where(MetaRow.key == "generation")
        .values(value=text("CAST(CAST(value AS INTEGER) + 1 AS TEXT)"))
    )
    now = _generation(session)
    session.merge(MetaRow(key=_key(now), value=f"{secrets.token_hex(6)} {kind} {person_id}"))
    oldest = _key(max(0, now - LOG_LENGTH))
    session.execute(delete(MetaRow).where(MetaRow.key >= _PREFIX, MetaRow.key < oldest))


def _entries(session: Session, then: Head) -> dict[str, set[int]] | None:
    """The people of each kind of change after ``then``. None when the log does not reach so far, or
    ``then`` is no earlier state of this gallery."""
    rows = session.execute(
        select(MetaRow.key, MetaRow.value)
        .where(MetaRow.key >= _key(then.generation), MetaRow.key < _END)
        .order_by(MetaRow.key)
    ).all()
    expected = [_key(number) for number in range(then.generation, _generation(session) + 1)]
    if not expected or [row.key for row in rows] != expected or not then.stamp:
        return None
    stamps, kinds, people = zip(*(row.value.split() for row in rows), strict=True)
    if stamps[0] != then.stamp:
        return None
    log: dict[str, set[int]] = {}
    for kind, person in zip(kinds[1:], people[1:], strict=True):
        log.setdefault(kind, set()).add(int(person))
    return log


def _generation(session: Session) -> int:
    return int(session.scalars(select(MetaRow.value).where(MetaRow.key == "generation")).one())


def _key(number: int) -> str:
    return f"{_PREFIX}{number:015d}"
