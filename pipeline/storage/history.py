"""Who decided what, and when: operations that change decisions, noted so that they can be undone.

An operation is one transaction. It notes what each sighting was before and is after it, and in its
details, step by step, what else has to be put back. Names of people are not written into it, only
their ids: the history of somebody who is removed does not keep the name.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, select

from .schema import (
    ClusterMemberRow,
    ClusterRow,
    DecisionRow,
    OperationRow,
    RejectionRow,
    SightingRow,
)
from .transactions import chunks

OperationKind = Literal[
    "name", "merge", "split", "ignore", "correct", "reidentify",
    "people_merged", "person_split", "person_removed", "photos_learned", "learnt", "undo",
]  # fmt: skip
DECIDED = ("person_id", "verdict", "similarity", "probability", "reason", "fixed", "ignored")
"""The columns of a sighting that a decision sets."""


def actor() -> str:
    """The user of the operating system."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user of this number
        return "unknown"


class RecordedChange:
    """An operation that goes on in a transaction; made by `changing`.

    Attributes:
        connection: of the transaction.
        id: of the operation.
        steps: what has to be put back, in the order in which it was done.
        decided: how many decisions it changed.
    """

    def __init__(self, connection: Connection, operation_id: int) -> None:
        self.connection = connection
        self.id = operation_id
        self.steps: list[dict[str, Any]] = []
        self.decided = 0

    def forget(self) -> None:
        """Nothing was changed: there is no operation."""
        self.connection.execute(sa.delete(OperationRow).where(OperationRow.id == self.id))

    def decide(self, values: Mapping[int, Mapping[str, Any]], *, cause: str) -> int:
        """Set columns of `DECIDED` of sightings, by the row's id.

        Args:
            values: what is not named stays.
            cause: why, in words.

        Returns:
            How many sightings are different now.
        """
        changed: list[dict[str, Any]] = []
        for row in _decided(self.connection, values):
            before = {name: getattr(row, name) for name in DECIDED}
            after = before | dict(values[row.id])
            if after != before:
                changed.append({"sighting_id": row.id, "before": before, "after": after})
        if not changed:
            return 0
        self.connection.execute(
            sa.insert(DecisionRow),
            [
                {
                    "operation_id": self.id,
                    "sighting_id": one["sighting_id"],
                    "before": json.dumps(one["before"]),
                    "after": json.dumps(one["after"]),
                    "cause": cause,
                }
                for one in changed
            ],
        )
        self.connection.execute(
            sa.update(SightingRow)
            .where(SightingRow.id == sa.bindparam("row"))
            .values({name: sa.bindparam(f"to_{name}") for name in DECIDED}),
            [
                {"row": one["sighting_id"]} | {f"to_{name}": one["after"][name] for name in DECIDED}
                for one in changed
            ],
        )
        self.decided += len(changed)
        return len(changed)

    def place(
        self, sightings: Sequence[int], cluster: int | None, *, pinned: bool, core: bool = True
    ) -> None:
        """Put sightings into a cluster, or with None into none."""
        found = {row.sighting_id: row for row in _members(self.connection, sightings)}
        self.steps += [
            {
                "undo": "place",
                "sighting": one,
                "cluster": found[one].cluster_id if one in found else None,
                "core": bool(found[one].core) if one in found else core,
                "pinned": bool(found[one].pinned) if one in found else False,
            }
            for one in sightings
        ]
        place(
            self.connection,
            [
                (one, cluster, bool(found[one].core) if one in found else core, pinned)
                for one in sightings
            ],
        )

    def set_cluster(self, cluster: int, state: str, *, merged_into: int | None = None) -> None:
        """Set the state of a cluster."""
        row = self.connection.execute(select(ClusterRow).where(ClusterRow.id == cluster)).one()
        self.steps.append(
            {"undo": "cluster", "id": cluster, "state": row.state, "into": row.merged_into}
        )
        set_cluster(self.connection, cluster, state, merged_into)

    def new_cluster(self, model_id: str) -> int:
        """Make an empty cluster."""
        made = new_cluster(self.connection, model_id)
        self.steps.append({"undo": "new_cluster", "id": made})
        return made

    def reject(self, person: int, sighting: int) -> None:
        """Note that a sighting is not this person."""
        key = {"person_id": person, "sighting_id": sighting}
        if not self.connection.execute(select(RejectionRow).filter_by(**key)).first():
            self.connection.execute(sa.insert(RejectionRow).values(key))
            self.steps.append({"undo": "reject", **key})

    def unreject(self, person: int, sighting: int) -> None:
        """Take back that a sighting is not this person."""
        key = {"person_id": person, "sighting_id": sighting}
        found = sa.delete(RejectionRow).filter_by(**key)
        if self.connection.execute(found).rowcount:
            self.steps.append({"undo": "unreject", **key})


@contextmanager
def changing(
    connection: Connection, kind: OperationKind, summary: str, *, who: str | None = None
) -> Iterator[RecordedChange]:
    """An operation within a transaction that writes.

    Args:
        summary: in words; ``{3}`` stands for the name of the person 3.
        who: that did it; None: the user of the operating system.
    """
    made = connection.execute(
        sa.insert(OperationRow).values(
            at=datetime.now(UTC), who=who or actor(), kind=kind, summary=summary, details="[]"
        )
    ).inserted_primary_key
    assert made is not None
    change = RecordedChange(connection, int(made[0]))
    yield change
    connection.execute(
        sa.update(OperationRow)
        .where(OperationRow.id == change.id)
        .values(details=json.dumps(change.steps))
    )


def place(connection: Connection, members: Iterable[tuple[int, int | None, bool, bool]]) -> None:
    """Set the members (sighting, cluster, core, pinned); with the cluster None, of none."""
    rows = list(members)
    for part in chunks([row[0] for row in rows]):
        connection.execute(
            sa.delete(ClusterMemberRow).where(ClusterMemberRow.sighting_id.in_(part))
        )
    names = ("sighting_id", "cluster_id", "core", "pinned")
    kept = [dict(zip(names, row, strict=True)) for row in rows if row[1] is not None]
    if kept:
        connection.execute(sa.insert(ClusterMemberRow), kept)


def set_cluster(connection: Connection, cluster: int, state: str, merged_into: int | None) -> None:
    """Set the state of a cluster, without noting it."""
    connection.execute(
        sa.update(ClusterRow)
        .where(ClusterRow.id == cluster)
        .values(state=state, merged_into=merged_into)
    )


def new_cluster(connection: Connection, model_id: str) -> int:
    """Make an empty cluster, without noting it."""
    values = {"model_id": model_id, "state": "open", "created_at": datetime.now(UTC)}
    made = connection.execute(sa.insert(ClusterRow).values(values)).inserted_primary_key
    assert made is not None
    return int(made[0])


def _decided(connection: Connection, ids: Iterable[int]) -> Iterator[sa.Row[Any]]:
    columns = [getattr(SightingRow, name) for name in ("id", *DECIDED)]
    for part in chunks(ids):
        yield from connection.execute(select(*columns).where(SightingRow.id.in_(part))).all()


def _members(connection: Connection, ids: Iterable[int]) -> Iterator[sa.Row[Any]]:
    for part in chunks(ids):
        query = select(ClusterMemberRow).where(ClusterMemberRow.sighting_id.in_(part))
        yield from connection.execute(query).all()
