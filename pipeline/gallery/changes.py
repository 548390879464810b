"""The gallery's log of changes, which lets an index be brought up to date rather than read anew.

Each change counts the gallery's generation up and leaves a row in ``meta``: a random stamp, what
was done, and to whom (an id, no name). Two copies of one gallery that went on separately have
different stamps, so what was read from the one is never taken for a state of the other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from .schema import MetaRow

ChangeKind = Literal["added", "removed", "renamed", "model", "stamped"]

# Rows of the log: 50 bytes each. An index that is further behind is read anew.
KEPT = 4096
_PREFIX = "change/"
_END = "change0"  # the character after "/"


@dataclass(frozen=True, slots=True)
class Head:
    """A state of a gallery.

    Attributes:
        generation: how many changes there were.
        stamp: random, of the last change; empty when that was made by a facestream without log.
    """

    generation: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Change:
    """What was done, and to which person (0: to nobody)."""

    kind: ChangeKind
    person_id: int


def generation(session: Session) -> int:
    """How many changes there were."""
    return int(session.scalars(select(MetaRow.value).where(MetaRow.key == "generation")).one())


def head(session: Session) -> Head:
    """The state now."""
    now = generation(session)
    row = session.scalar(select(MetaRow.value).where(MetaRow.key == _key(now)))
    return Head(now, "" if row is None else row.split()[0])


def bump(session: Session, kind: ChangeKind, person_id: int = 0) -> Head:
    """Count a change, so that others see that their index is old, and log it."""
    session.execute(
        update(MetaRow)
        .where(MetaRow.key == "generation")
        .values(value=text("CAST(CAST(value AS INTEGER) + 1 AS TEXT)"))
    )
    return stamp(session, kind, person_id)


def stamp(session: Session, kind: ChangeKind = "stamped", person_id: int = 0) -> Head:
    """Log a change that was counted; also gives a state without a stamp one."""
    now = Head(generation(session), secrets.token_hex(6))
    session.merge(MetaRow(key=_key(now.generation), value=f"{now.stamp} {kind} {person_id}"))
    oldest = _key(max(0, now.generation - KEPT))
    session.execute(delete(MetaRow).where(MetaRow.key >= _PREFIX, MetaRow.key < oldest))
    return now


def since(session: Session, then: Head) -> list[Change] | None:
    """What was changed after ``then``, oldest first.

    None when that cannot be told: the log does not reach so far, or ``then`` is no earlier state
    of this gallery.
    """
    rows = session.execute(
        select(MetaRow.key, MetaRow.value)
        .where(MetaRow.key >= _key(then.generation), MetaRow.key < _END)
        .order_by(MetaRow.key)
    ).all()
    expected = [_key(number) for number in range(then.generation, generation(session) + 1)]
    if not expected or [row.key for row in rows] != expected or not then.stamp:
        return None
    fields = [row.value.split() for row in rows]
    if fields[0][0] != then.stamp:
        return None
    return [Change(kind, int(person)) for _, kind, person in fields[1:]]


def _key(number: int) -> str:
    return f"{_PREFIX}{number:015d}"
