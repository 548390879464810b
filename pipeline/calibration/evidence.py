"""What the stored sightings say: how many there are, and which names a human judged."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select

from ..core.types import Floats
from ..identity.grouping import ALONE, GroupingRule, group_faces
from ..recognition.uncertainty import normalise
from ..sightings import Sightings
from ..sightings.feedback import feedback
from ..storage.schema import SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means

# A camera's rate is not told from less than an hour.
LEAST_DAYS: Final = 1 / 24
# Sightings that are grouped into people for an own cohort, the clearest.
MOST_GROUPED: Final = 4000


class Judged(NamedTuple):
    """A name that a human confirmed or rejected.

    Attributes:
        similarity: of the sighting to the person when it was named, −1..1.
        sigma: of its surest embedding.
        person_id: of the gallery.
        right: whether the sighting is that person.
    """

    similarity: float
    sigma: float
    person_id: int
    right: bool


class CameraRate(NamedTuple):
    """The sightings of a camera or video.

    Attributes:
        source: its name. days: from the first sighting to the last, at least an hour.
        sightings: clear enough to get a name. unnamed: those without one.
    """

    source: str
    days: float
    sightings: int
    unnamed: int


def camera_rates(connection: Connection, max_sigma: float) -> list[CameraRate]:
    """The rates of all sources, of the sightings with a sigma of at most ``max_sigma``."""
    clear = SightingRow.clearest <= min(max_sigma, 1e6)
    rows = connection.execute(
        select(
            SightingRow.source,
            func.min(SightingRow.seen_at),
            func.max(SightingRow.seen_at),
            func.count(),
            func.sum(case((SightingRow.person_id.is_(None), 1), else_=0)),
        )
        .where(clear, SightingRow.state != "open")
        .group_by(SightingRow.source)
        .order_by(SightingRow.source)
    ).all()
    return [
        CameraRate(source, _days(first, last), int(count), int(unnamed))
        for source, first, last, count, unnamed in rows
    ]


def _days(first: datetime, last: datetime) -> float:
    return max((last - first).total_seconds() / 86400, LEAST_DAYS)


def judged_names(sightings: Sightings) -> list[Judged]:
    """The names that were confirmed or rejected."""
    return [
        Judged(one.similarity, one.sigma, one.person_id, one.right) for one in feedback(sightings)
    ]


class Strangers(NamedTuple):
    """Clear unnamed sightings, one of each person.

    Attributes:
        rows: ids of the sightings. mu: M×D, their embeddings.
    """

    rows: tuple[int, ...]
    mu: Floats


def own_strangers(
    connection: Connection, model: str, max_sigma: float, rule: GroupingRule
) -> Strangers:
    """The people who were seen clearly and have no name; of each the surest sighting.

    Args:
        model: id of the encoder.
        max_sigma: of the surest embedding of a sighting that counts as clear.
        rule: which sightings are one person.
    """
    rows = connection.execute(
        select(SightingRow.clearest, SightingTemplateRow.__table__)
        .join(SightingTemplateRow, SightingTemplateRow.sighting_id == SightingRow.id)
        .where(
            SightingRow.person_id.is_(None),
            SightingRow.state != "open",
            # A face that may be somebody enrolled is none of the strangers.
            SightingRow.verdict == "stranger",
            SightingRow.clearest <= max_sigma,
            SightingTemplateRow.model_id == model,
        )
        .order_by(SightingRow.clearest, SightingRow.id)
        .limit(MOST_GROUPED)
    ).all()
    if not rows:
        return Strangers((), np.zeros((0, 1), np.float32))
    mu = opened_means(connection, rows)
    sigma = np.array([row.clearest for row in rows], np.float32)
    groups: NDArray[np.int64] = group_faces(normalise(mu), sigma, rule)
    # The rows are ordered by sigma: the first of a group is the surest.
    _, first = np.unique(groups, return_index=True)
    chosen = np.sort(first[groups[first] != ALONE])
    return Strangers(tuple(int(rows[at].sighting_id) for at in chosen), mu[chosen])
