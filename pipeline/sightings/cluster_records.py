"""Clusters as they are shown: visits, days, cameras, the best picture, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, func, select

from ..core.errors import UsageError
from ..identity.grouping import GroupingRule
from ..recognition.uncertainty import normalise
from ..storage.schema import ClusterMemberRow, ClusterRow, SightingRow, SightingTemplateRow
from ..storage.sealed import opened_floats
from .records import Sighting

VISIT_GAP = timedelta(minutes=30)
"""A visit ends when nothing was seen for so long."""
# Members by which it is judged how sure a cluster is, the surest ones.
_JUDGED = 50

ClusterState = Literal["open", "ignored", "named", "merged"]


@dataclass(frozen=True, slots=True)
class UnknownCluster:
    """Unnamed sightings that show one person.

    Attributes:
        id: stays the same while the cluster grows.
        state: ``ignored``: sightings that resemble it are ignored, too; ``named`` and ``merged``
            ones are not listed.
        size: how many sightings.
        visits: sightings by gaps of 30 minutes, over all cameras.
        days: how many, in UTC.
        cameras: by name.
        first_seen, last_seen: UTC.
        best: the sighting with the surest and largest picture.
        uncertainty: sigma of its surest embedding.
        probability: that its sightings show one person, 0..1, by their similarity to its centre;
            None of one sighting alone.
        sightings: the ids of all, oldest first.
    """

    id: int
    state: ClusterState
    size: int
    visits: int
    days: int
    cameras: tuple[str, ...]
    first_seen: datetime
    last_seen: datetime
    best: Sighting
    uncertainty: float
    probability: float | None
    sightings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the fields of ``facestream unknown list --json``."""
        return {
            "id": self.id,
            "ignored": self.state == "ignored",
            "size": self.size,
            "visits": self.visits,
            "days": self.days,
            "cameras": list(self.cameras),
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
            "best": self.best.id,
            "picture": self.best.pictures.get("face") or self.best.pictures.get("frame"),
            "uncertainty": round(self.uncertainty, 4),
            "probability": None if self.probability is None else round(self.probability, 4),
        }


def largest(
    connection: Connection, state: ClusterState, *, model_id: str, least: int, limit: int
) -> list[int]:
    """The ids of the clusters with most sightings, of those with ``least`` or more."""
    size = func.count()
    query = (
        select(ClusterMemberRow.cluster_id)
        .join(ClusterRow, ClusterRow.id == ClusterMemberRow.cluster_id)
        .join(SightingRow, SightingRow.id == ClusterMemberRow.sighting_id)
        .where(
            ClusterRow.state == state,
            ClusterRow.model_id == model_id,
            SightingRow.person_id.is_(None),
        )
        .group_by(ClusterMemberRow.cluster_id)
        .having(size >= least)
        .order_by(size.desc(), ClusterMemberRow.cluster_id)
        .limit(limit)
    )
    return [row.cluster_id for row in connection.execute(query)]


def find_cluster(connection: Connection, cluster: int) -> Any:
    """The row of a cluster.

    Raises:
        UsageError: there is none of this number, or it is part of another now.
    """
    row = connection.execute(select(ClusterRow).where(ClusterRow.id == cluster)).first()
    if row is None:
        raise UsageError(
            f"there is no cluster {cluster}; 'facestream unknown list' shows their numbers"
        )
    if row.state == "merged":
        raise UsageError(f"cluster {cluster} is part of cluster {row.merged_into} now")
    return row


def members(connection: Connection, cluster: int, *, unnamed: bool = True) -> list[Any]:
    """The sightings of a cluster, oldest first; ``unnamed``: only those without a name."""
    query = (
        select(
            SightingRow.id, SightingRow.uid, SightingRow.source, SightingRow.run_id,
            SightingRow.seen_at, SightingRow.start_pts, SightingRow.end_pts, SightingRow.box,
            SightingRow.clearest, ClusterMemberRow.pinned,
        )
        .join(ClusterMemberRow, ClusterMemberRow.sighting_id == SightingRow.id)
        .where(ClusterMemberRow.cluster_id == cluster)
        .order_by(SightingRow.seen_at, SightingRow.id)
    )  # fmt: skip
    if unnamed:
        query = query.where(SightingRow.person_id.is_(None))
    return list(connection.execute(query).all())


def best_of(rows: Sequence[Any]) -> Any:
    """The row with the surest picture; of nearly equally sure ones the largest face."""
    surest = min(_sigma(row) for row in rows)
    clear = [row for row in rows if _sigma(row) <= 1.1 * surest]
    return max(clear, key=lambda row: (_side(row), -_sigma(row)))


def visits(rows: Sequence[Any], gap: timedelta = VISIT_GAP) -> int:
    """How many visits the sightings are, oldest first."""
    count, until = 0, None
    for row in rows:
        if until is None or row.seen_at - until > gap:
            count += 1
        end = row.seen_at + timedelta(seconds=max(0.0, row.end_pts - row.start_pts))
        until = end if until is None else max(until, end)
    return count


def probability(connection: Connection, rows: Sequence[Any], rule: GroupingRule) -> float | None:
    """How sure it is that the sightings show one person; see `UnknownCluster`."""
    chosen = sorted(rows, key=_sigma)[:_JUDGED]
    ids = [row.id for row in chosen]
    template = SightingTemplateRow
    found = connection.execute(select(template.__table__).where(template.sighting_id.in_(ids)))
    mu = {row.sighting_id: opened_floats(connection, row) for row in found}
    if len(mu) < 2:
        return None
    unit = normalise(np.stack([mu[one] for one in ids if one in mu]))
    pairs = unit @ unit.T
    if rule.cohort is not None:
        means = rule.cohort.means(unit)
        pairs = rule.cohort.normalised(pairs, means[:, None], means[None])
    np.fill_diagonal(pairs, np.nan)
    # Of each the second nearest, or the nearest of two: one pair alone says little.
    place = min(1, len(unit) - 2)
    near = np.sort(np.where(np.isnan(pairs), -np.inf, pairs), axis=1)[:, ::-1][:, place]
    return rule.thresholds.probability(float(np.median(near)))


def _sigma(row: Any) -> float:
    return float("inf") if row.clearest is None else float(row.clearest)


def _side(row: Any) -> float:
    x1, y1, x2, y2 = (float(value) for value in row.box)
    return min(x2 - x1, y2 - y1)
