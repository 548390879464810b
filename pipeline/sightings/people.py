"""One person becomes two, with the sightings of both decided again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..gallery import edits
from ..gallery.rows import find
from ..storage.history import changing
from ..storage.names import normalise_name
from ..storage.schema import SightingRow
from .reidentify import Decider
from .store import Sightings
from .transactions import deciding


@dataclass(frozen=True, slots=True)
class SplitOff:
    """The person who was made, and how many sightings are somebody else's, or nobody's, now."""

    person_id: int
    name: str
    sightings: int


def split_person(
    sightings: Sightings,
    settings: Settings,
    name: str,
    photo_ids: Sequence[int],
    new: str,
    *,
    who: str | None = None,
) -> SplitOff:
    """Give photos of a person to a new one, and decide again on the person's sightings.

    What a human decided stays.

    Raises:
        PersonNotFound: there is no such person.
        PersonExists: somebody is called ``new``.
        GalleryError: the name cannot be used, or no photo would be left.
    """
    new = normalise_name(new)
    with deciding(sightings) as connection, Session(connection) as session:
        person = find(session, name)
        old = person.id
        text = f"split photos of {{{old}}}"
        with changing(connection, "person_split", text, who=who) as change:
            made = edits.split(session, change, person, photo_ids, new).id
            session.flush()
            rows = select(SightingRow.id).where(
                SightingRow.person_id == old, SightingRow.fixed.is_(None)
            )
            decided = Decider(connection, settings).decide(list(connection.scalars(rows)))
            values = {
                row.id: columns for row, identity, columns in decided if identity.person_id != old
            }
            changed = change.decide(values, cause=text)
    return SplitOff(made, new, changed)
