"""A name for sightings that had none: in the past, and from now on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from facestream.engines.cards import load_card
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..core.types import Floats
from ..gallery.changes import log_change
from ..gallery.rows import find_or_make
from ..recognition.encoder import DEFAULT_MODEL
from ..recognition.uncertainty import normalise
from ..storage.database import chunks
from ..storage.history import OperationKind, RecordedChange, changing
from ..storage.names import normalise_name
from ..storage.schema import SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means
from .cluster_records import find_cluster, members
from .enrolment import enrol_sightings
from .reidentify import Candidates, Decider, look_for, name_candidates
from .store import Sightings
from .transactions import deciding

# Clear faces by which others are looked for at first.
_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class NameGiven:
    """What giving a name did.

    Attributes:
        person_id, name: as it is written in the gallery.
        new: True where the person was made.
        sightings: how many got the name by hand.
        resembling: how many more got it because they resemble the person.
        photos: how many pictures became photos of the gallery.
    """

    person_id: int
    name: str
    new: bool
    sightings: int
    resembling: int
    photos: int


def name_sightings(
    sightings: Sightings,
    settings: Settings,
    name: str,
    *,
    cluster: int | None = None,
    uid: str | None = None,
    enrol: bool = True,
    who: str | None = None,
    progress: Callable[..., None] | None = None,
) -> NameGiven:
    """Give a name to the sightings of a cluster, or to one; see `Unknowns.name`.

    Args:
        uid: of the one sighting, which may have another name; it is noted as not that person.
        enrol: make photos of clear pictures, and look for the person among past sightings.
        progress: is called with the number of sightings looked at, and ``total``.
    """
    name = normalise_name(name)
    card = load_card(DEFAULT_MODEL)
    found = Candidates([], 0)
    with sightings.reading() as connection:
        if enrol:
            examples = _examples(connection, _wanted(connection, cluster, uid), card.id)
            found = look_for(connection, examples, settings, progress=progress)
    with deciding(sightings) as connection:
        ids = _wanted(connection, cluster, uid)
        person, shown, new = _person(connection, name)
        what = f"cluster {cluster}" if uid is None else f"sighting {uid[:8]}"
        kind: OperationKind = "correct" if cluster is None else "name"
        with changing(connection, kind, f"named {what} {{{person}}}", who=who) as change:
            if new:
                change.steps.append({"undo": "new_person", "id": person})
            by_hand = _decide(change, ids, person, f"{what} is {{{person}}}")
            if cluster is not None:
                change.set_cluster(cluster, "named")
            photos, resembling = 0, 0
            if enrol:
                decider = Decider(connection, settings)
                unit = enrol_sightings(change, sightings, decider, shown, ids).unit
                photos = len(unit)
                if photos:
                    resembling = name_candidates(
                        change, settings, {person}, found, unit, cause=f"resembles {what}"
                    )
        with Session(connection) as session:
            log_change(session, "added", person)  # running searches read the names anew
            session.flush()
    return NameGiven(person, shown, new, by_hand, resembling, photos)


def _wanted(connection: Connection, cluster: int | None, uid: str | None) -> list[int]:
    if cluster is not None:
        find_cluster(connection, cluster)
        return [row.id for row in members(connection, cluster)]
    return list(connection.scalars(select(SightingRow.id).where(SightingRow.uid == uid)))


def _person(connection: Connection, name: str) -> tuple[int, str, bool]:
    """Id and name of the person, and whether they were made now."""
    with Session(connection) as session:
        row, new = find_or_make(session, name)
        return row.id, row.name, new


def _decide(change: RecordedChange, ids: Sequence[int], person: int, cause: str) -> int:
    """Set the name by hand; whoever they were called before, they are not."""
    connection = change.connection
    for part in chunks(ids):
        before = select(SightingRow.id, SightingRow.person_id).where(SightingRow.id.in_(part))
        for row in connection.execute(before).all():
            if row.person_id not in (None, person):
                change.reject(row.person_id, row.id)
            change.unreject(person, row.id)
    decided = {
        "person_id": person,
        "verdict": "known",
        "probability": 1.0,
        "reason": None,
        "fixed": True,
        "ignored": None,
    }
    return change.decide(dict.fromkeys(ids, decided), cause=cause)


def _examples(connection: Connection, ids: Sequence[int], model_id: str) -> Floats:
    """The surest faces of sightings, A×D of length 1."""
    template = SightingTemplateRow
    query = (
        select(template.__table__, SightingRow.clearest)
        .join(SightingRow, SightingRow.id == template.sighting_id)
        .where(template.model_id == model_id, SightingRow.clearest.is_not(None))
    )
    rows: list[Any] = []
    for part in chunks(ids):
        rows += connection.execute(query.where(SightingRow.id.in_(part))).all()
    rows.sort(key=lambda row: row.clearest)
    if not rows:
        return np.zeros((0, 1), np.float32)
    chosen = rows[:_EXAMPLES]
    return normalise(opened_means(connection, chosen))
