"""What a human says of a sighting, and what was said is taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from facestream.engines.cards import load_card
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..core.errors import UsageError
from ..gallery.changes import log_change
from ..gallery.rows import find, read_people
from ..recognition.encoder import DEFAULT_MODEL
from ..storage.history import changing
from ..storage.names import printable
from ..storage.schema import DecisionRow, OperationRow, SightingRow
from .naming import NameGiven, name_sightings
from .records import Sighting
from .reidentify import Decider, reidentify
from .store import Sightings
from .transactions import deciding
from .undo import NOT_UNDONE, undo_last


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that changed decisions.

    Attributes:
        id: rises with time.
        at: UTC.
        who: the user, or ``facestream``.
        kind: what it was.
        summary: in words.
        undone: True once it was undone.
    """

    id: int
    at: datetime
    who: str
    kind: str
    summary: str
    undone: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "who": self.who,
            "kind": self.kind,
            "summary": self.summary,
            "undone": self.undone,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operation changed of a sighting.

    Attributes:
        operation: that changed it.
        before, after: name (None without one), verdict, whether a human ``fixed`` it, ``ignored``.
        cause: why, in words.
    """

    operation: Operation
    before: dict[str, Any]
    after: dict[str, Any]
    cause: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "at": self.operation.at.isoformat(),
            "who": self.operation.who,
            "kind": self.operation.kind,
            "operation": self.operation.id,
            "undone": self.operation.undone,
            "before": self.before,
            "after": self.after,
            "cause": self.cause,
        }


Correction = Literal["is", "is_not", "stranger", "ignore"]


class Corrections:
    """Decisions of humans on the sightings of a database, with their history.

    Args:
        sightings: the database; not closed here.
        settings: by which sightings are decided again.
        who: does what is done here; None: the user of the operating system.
    """

    def __init__(
        self, sightings: Sightings, settings: Settings | None = None, *, who: str | None = None
    ) -> None:
        self._sightings = sightings
        self._settings = settings or Settings()
        self._who = who

    def correct(
        self, uid: str, what: Correction, name: str = "", *, enrol: bool = False
    ) -> NameGiven | None:
        """One of `is_person`, `is_not`, `stranger` and `ignore`; what the first one gives.

        Args:
            uid: of the sighting, or its beginning.
            name: for ``is`` and ``is_not``.
            enrol: for ``is``.

        Raises:
            UsageError, GalleryError: as those.
        """
        if what == "is":
            return self.is_person(uid, name, enrol=enrol)
        if what == "is_not":
            self.is_not(uid, name)
        elif what == "stranger":
            self.stranger(uid)
        else:
            self.ignore(uid)
        return None

    def is_person(self, uid: str, name: str, *, enrol: bool = False) -> NameGiven:
        """The sighting is this person, who is made where they are new.

        Args:
            uid: of the sighting, or its beginning.
            enrol: make its picture a photo of the gallery, where it is clear and resembles nobody
                else, and look for the person among past sightings.

        Raises:
            UsageError: there is no such sighting.
            GalleryError: the name cannot be used.
        """
        uid = self._sightings.get(uid).id
        return name_sightings(
            self._sightings, self._settings, name, uid=uid, enrol=enrol, who=self._who
        )

    def is_not(self, uid: str, name: str) -> Sighting:
        """The sighting is not this person; nor are, from now on, faces that resemble it more.

        It is decided again without that person, and so are the person's other sightings that a
        human did not decide on.

        Raises:
            UsageError: there is no such sighting.
            PersonNotFound: there is no such person.
        """
        one = self._sightings.get(uid)
        with deciding(self._sightings) as connection:
            with Session(connection) as session:
                person = find(session, name).id
            text = f"sighting {one.id[:8]} is not {{{person}}}"
            row = _row_of(connection, one.id)
            with changing(connection, "correct", text, who=self._who) as change:
                change.reject(person, row.id)
                others = select(SightingRow.id).where(
                    SightingRow.person_id == person, SightingRow.fixed.is_(None)
                )
                decider = Decider(connection, self._settings)
                again = {row.id, *connection.scalars(others)}
                values = {
                    each.id: {**columns, "fixed": None}
                    for each, identity, columns in decider.decide(again)
                    if each.id == row.id or identity.person_id != person
                }
                if row.person_id not in (None, person):
                    values.pop(row.id, None)  # it was not called so
                elif row.id not in values and row.person_id == person:
                    values[row.id] = _nobody("unsure")  # without an embedding
                change.decide(values, cause=text)
            _tell_searches(connection, person)
        return self._sightings.get(one.id)

    def stranger(self, uid: str) -> Sighting:
        """The sighting is nobody who is enrolled, whatever it resembles.

        Raises:
            UsageError: there is no such sighting.
        """
        one = self._sightings.get(uid)
        with deciding(self._sightings) as connection:
            row = _row_of(connection, one.id)
            text = f"sighting {one.id[:8]} is a stranger"
            with changing(connection, "correct", text, who=self._who) as change:
                if row.person_id is not None:
                    change.reject(row.person_id, row.id)
                values = {**_nobody("stranger"), "fixed": True}
                change.decide({row.id: values}, cause=text)
            if row.person_id is not None:
                _tell_searches(connection, row.person_id)
        return self._sightings.get(one.id)

    def ignore(self, uid: str) -> Sighting:
        """Leave the sighting out of lists and alarms from now on, and all that resembles it.

        The verdict stays. A sighting that is part of a cluster leaves it.

        Raises:
            UsageError: there is no such sighting, or it has a name.
        """
        one = self._sightings.get(uid)
        if one.person_id is not None:
            raise UsageError(
                f"sighting {one.id[:8]} is '{printable(one.name)}'; say with --is-not or "
                "--stranger that it is not, then ignore it"
            )
        with deciding(self._sightings) as connection:
            row = _row_of(connection, one.id)
            text = f"ignored sighting {one.id[:8]}"
            with changing(connection, "ignore", text, who=self._who) as change:
                cluster = change.new_cluster(load_card(DEFAULT_MODEL).id)
                change.place([row.id], cluster, pinned=True)
                change.set_cluster(cluster, "ignored")
                change.decide({row.id: {"ignored": True}}, cause=text)
        return self._sightings.get(one.id)

    def reidentify(self, names: Sequence[str], *, progress: Any = None) -> int:
        """Search past unnamed sightings for these people; see `reidentify`.

        Raises:
            PersonNotFound: one is not in the gallery.
        """
        with self._sightings.reading() as connection, Session(connection) as session:
            people = [find(session, name).id for name in names]
        return reidentify(self._sightings, self._settings, people, who=self._who, progress=progress)

    # --- history ---------------------------------------------------------------------------

    def history(self, uid: str) -> list[Decision]:
        """What was changed of a sighting since it was seen, oldest first.

        Raises:
            UsageError: there is no such sighting.
        """
        one = self._sightings.get(uid)
        query = (
            select(DecisionRow, OperationRow)
            .join(OperationRow, OperationRow.id == DecisionRow.operation_id)
            .join(SightingRow, SightingRow.id == DecisionRow.sighting_id)
            .where(SightingRow.uid == one.id)
            .order_by(DecisionRow.id)
        )
        with self._sightings.reading() as connection:
            names = _names(connection)
            with Session(connection) as session:
                return [
                    Decision(
                        _operation(operation, names),
                        _shown(decision.before, names),
                        _shown(decision.after, names),
                        _filled(decision.cause, names),
                    )
                    for decision, operation in session.execute(query)
                ]

    def operations(self, *, limit: int = 50) -> list[Operation]:
        """The last operations, newest first."""
        query = select(OperationRow).order_by(OperationRow.id.desc()).limit(limit)
        with self._sightings.reading() as connection:
            names = _names(connection)
            return [_operation(row, names) for row in connection.execute(query)]

    def undo(self, *, expected: int | None = None) -> Operation:
        """Undo the last operation that was not undone; that is noted, too.

        Args:
            expected: its number; None: whichever it is.

        Raises:
            UsageError: there is none.
            ChangedSince: the last one is another.
        """
        with self._sightings.reading() as connection:
            names = _names(connection)
        undone = undo_last(self._sightings, who=self._who, expected=expected)
        with self._sightings.reading() as connection:
            row = connection.execute(select(OperationRow).where(OperationRow.id == undone)).one()
            return _operation(row, names | _names(connection))


def undoable(operation: Operation) -> bool:
    """Whether ``undo`` would come to it."""
    return not operation.undone and operation.kind not in NOT_UNDONE


def _nobody(verdict: str) -> dict[str, Any]:
    return {"person_id": None, "verdict": verdict, "reason": "corrected", "probability": 0.0}


def _row_of(connection: Connection, uid: str) -> Any:
    columns = (SightingRow.id, SightingRow.person_id)
    return connection.execute(select(*columns).where(SightingRow.uid == uid)).one()


def _tell_searches(connection: Connection, person: int) -> None:
    """Running searches read anew who a face is not."""
    with Session(connection) as session:
        log_change(session, "renamed", person)
        session.flush()


def _names(connection: Connection) -> dict[int, str]:
    """Of all people, and of those who were merged into one."""
    names: dict[int, str] = {}
    with Session(connection) as session:
        for person in read_people(session):
            names |= {one.id: one.name for one in person.merged} | {person.id: person.name}
    return names


def _filled(text: str, names: dict[int, str]) -> str:
    """The names of people for their ids in braces."""
    for part in {one.partition("}")[0] for one in text.split("{")[1:]}:
        name = names.get(int(part)) if part.isdigit() else None
        text = text.replace(f"{{{part}}}", f"'{name}'" if name else f"person {part} (removed)")
    return text


def _shown(state: str, names: dict[int, str]) -> dict[str, Any]:
    values = json.loads(state)
    person = values["person_id"]
    return {
        "name": None if person is None else names.get(person, f"person {person} (removed)"),
        "person_id": person,
        **{name: values[name] for name in ("verdict", "reason")},
        **{name: bool(values[name]) for name in ("fixed", "ignored")},
    }


def _operation(row: Any, names: dict[int, str]) -> Operation:
    return Operation(
        row.id, row.at, row.who, row.kind, _filled(row.summary, names), row.undone_by is not None
    )
