"""Takes the last operation back: decisions, clusters, people and photos, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.errors import ChangedSince, UsageError
from ..gallery.changes import log_change
from ..gallery.edits import unmerge
from ..gallery.templates import assign_templates, erase_templates
from ..storage.history import DECIDED, RecordedChange, changing, place, set_cluster
from ..storage.schema import (
    ClusterMemberRow,
    ClusterRow,
    DecisionRow,
    OperationRow,
    PersonRow,
    PhotoRow,
    RejectionRow,
    SightingRow,
)
from .store import Sightings
from .transactions import deciding

NOT_UNDONE = ("undo", "learnt", "person_removed")
"""Kinds of operations that are left out."""


def undo_last(sightings: Sightings, *, who: str | None = None, expected: int | None = None) -> int:
    """Undo the last operation that was not undone.

    What was changed again since, by a machine, stays as it is.

    Args:
        sightings: the database.
        who: does it.
        expected: the number of that operation, so that two people who undo at once do not undo two.

    Returns:
        The number of the operation.

    Raises:
        UsageError: there is none.
        ChangedSince: it is not the expected one.
    """
    with deciding(sightings) as connection:
        row = connection.execute(
            select(OperationRow)
            .where(OperationRow.undone_by.is_(None), OperationRow.kind.not_in(NOT_UNDONE))
            .order_by(OperationRow.id.desc())
            .limit(1)
        ).first()
        if row is None:
            raise UsageError("there is nothing to undo")
        if expected not in (None, row.id):
            raise ChangedSince(f"operation {expected} is not the last one any more: {row.id} is")
        text = f"undid {row.id}: {row.summary}"
        with changing(connection, "undo", text, who=who) as change:
            # People that decisions go back to come first, those that were made go last.
            steps = json.loads(row.details)[::-1]
            _apply(connection, [step for step in steps if step["undo"] == "person"])
            _decide_back(change, row.id)
            _apply(connection, [step for step in steps if step["undo"] != "person"])
            _list_again(change, [step["id"] for step in steps if step["undo"] == "cluster"])
        connection.execute(
            sa.update(OperationRow).where(OperationRow.id == row.id).values(undone_by=change.id)
        )
    sightings.wipe()
    return int(row.id)


def _decide_back(change: RecordedChange, operation: int) -> None:
    connection = change.connection
    people = set(connection.scalars(select(PersonRow.id)))
    columns = [getattr(SightingRow, name) for name in DECIDED]
    query = (
        select(DecisionRow.sighting_id, DecisionRow.before, DecisionRow.after, *columns)
        .join(SightingRow, SightingRow.id == DecisionRow.sighting_id)
        .where(DecisionRow.operation_id == operation)
        .order_by(DecisionRow.id.desc())
    )
    values: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query).all():
        before, after = json.loads(row.before), json.loads(row.after)
        now = values.get(row.sighting_id, {name: getattr(row, name) for name in DECIDED})
        if any(now[name] != after[name] for name in ("person_id", "fixed", "ignored")):
            continue  # decided again since
        if before["person_id"] is not None and before["person_id"] not in people:
            before |= {"person_id": None, "verdict": "unsure", "fixed": None}
        values[row.sighting_id] = before
    change.decide(values, cause="undone")


def _list_again(change: RecordedChange, clusters: list[int]) -> None:
    """What was learnt from clusters that are not ignored any more."""
    query = (
        select(SightingRow.id)
        .join(ClusterMemberRow, ClusterMemberRow.sighting_id == SightingRow.id)
        .join(ClusterRow, ClusterRow.id == ClusterMemberRow.cluster_id)
        .where(
            ClusterRow.id.in_(clusters), ClusterRow.state == "open", SightingRow.ignored.is_(True)
        )
    )
    rows = list(change.connection.scalars(query))
    change.decide({row: {"ignored": None} for row in rows}, cause="undone")


def _apply(connection: Connection, steps: list[dict[str, Any]]) -> None:
    with Session(connection) as session:
        for step in steps:
            _STEPS[step["undo"]](session, step)
        session.flush()


def _place(session: Session, step: dict[str, Any]) -> None:
    connection = session.connection()
    there = select(SightingRow.id).where(SightingRow.id == step["sighting"])
    cluster = step["cluster"]
    if cluster is not None:
        row = connection.execute(select(ClusterRow).where(ClusterRow.id == cluster)).first()
        cluster = None if row is None else cluster
    if connection.execute(there).first() is not None:  # else it was erased
        place(connection, [(step["sighting"], cluster, step["core"], step["pinned"])])


def _cluster(session: Session, step: dict[str, Any]) -> None:
    set_cluster(session.connection(), step["id"], step["state"], step["into"])


def _new_cluster(session: Session, step: dict[str, Any]) -> None:
    """It goes, unless others were put into it since."""
    members = select(ClusterMemberRow.sighting_id).where(ClusterMemberRow.cluster_id == step["id"])
    if session.execute(members.limit(1)).first() is None:
        session.execute(sa.delete(ClusterRow).where(ClusterRow.id == step["id"]))


def _reject(session: Session, step: dict[str, Any]) -> None:
    session.execute(
        sa.delete(RejectionRow).where(
            RejectionRow.person_id == step["person_id"],
            RejectionRow.sighting_id == step["sighting_id"],
        )
    )
    log_change(session, "renamed", step["person_id"])


def _unreject(session: Session, step: dict[str, Any]) -> None:
    key = {name: step[name] for name in ("person_id", "sighting_id")}
    if session.get(PersonRow, key["person_id"]) and session.get(SightingRow, key["sighting_id"]):
        session.execute(sa.insert(RejectionRow).values(key))
        log_change(session, "renamed", step["person_id"])


def _new_photo(session: Session, step: dict[str, Any]) -> None:
    photo = session.get(PhotoRow, step["id"])
    if photo is not None:
        erase_templates(session, np.array([step["id"]], np.int64))
        session.execute(sa.delete(PhotoRow).where(PhotoRow.id == step["id"]))
        session.expire_all()
        log_change(session, "photo_removed", step["id"])


def _new_person(session: Session, step: dict[str, Any]) -> None:
    """They go, unless they got photos or sightings since."""
    for table in (PhotoRow, SightingRow):
        rows = select(table.id).where(table.person_id == step["id"]).limit(1)
        if session.execute(rows).first() is not None:
            return
    session.execute(sa.delete(PersonRow).where(PersonRow.id == step["id"]))
    log_change(session, "removed", step["id"])


def _person(session: Session, step: dict[str, Any]) -> None:
    at = datetime.fromisoformat(step["created_at"])
    unmerge(session, step["id"], step["into"], created_at=at, formers=step["formers"])


def _photos(session: Session, step: dict[str, Any]) -> None:
    """They go back to whose they were."""
    if session.get(PersonRow, step["person"]) is None:
        return
    there = select(PhotoRow.id).where(PhotoRow.id.in_(step["ids"]))
    ids = list(session.scalars(there))
    session.execute(
        sa.update(PhotoRow).where(PhotoRow.id.in_(ids)).values(person_id=step["person"])
    )
    assign_templates(session, np.array(ids, np.int64), step["person"])
    session.flush()
    log_change(session, "merged", step["person"])


def _rejections(session: Session, step: dict[str, Any]) -> None:
    """Who faces were not, before two people became one."""
    there = set(session.scalars(select(SightingRow.id).where(SightingRow.id.in_(step["added"]))))
    session.execute(
        sa.delete(RejectionRow).where(
            RejectionRow.person_id == step["into"], RejectionRow.sighting_id.in_(step["added"])
        )
    )
    for sighting in sorted(there & set(step["moved"])):
        key = {"person_id": step["person"], "sighting_id": sighting}
        session.execute(sa.insert(RejectionRow).values(key))


_STEPS: dict[str, Callable[[Session, dict[str, Any]], None]] = {
    "place": _place,
    "cluster": _cluster,
    "new_cluster": _new_cluster,
    "reject": _reject,
    "unreject": _unreject,
    "new_photo": _new_photo,
    "new_person": _new_person,
    "person": _person,
    "photos": _photos,
    "rejections": _rejections,
}
