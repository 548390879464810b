"""The unnamed sightings in memory, and where new ones belong among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from ..core.types import Floats
from ..identity.clustering import Joined, Links, join, simultaneous
from ..identity.grouping import GroupingRule
from ..identity.neighbours import Neighbours
from ..recognition.uncertainty import normalise
from ..storage.schema import ClusterMemberRow, ClusterRow, MetaRow, SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means

# A face up to this sigma connects others: the same that may be called a stranger.
CORE_SIGMA = 0.9
# A link is as rare among strangers as a false name in a gallery this many times as large: it
# joins two people for good, where a false name is one sighting's. Chosen on the people of LFW's dev
# half (python -m benchmarks unknowns).
STRICTER = 30
# Most similar faces that are looked at.
NEAREST = 48
VERSION = "clusters/version"
_CHUNK = 50_000
_OWN = ("open", "ignored")

Ids = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class _Table:
    """N sightings by row; ``cluster`` is −1 while they have none."""

    sighting: Ids
    unit: Floats
    sigma: Floats
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    place: Ids
    cluster: Ids
    pinned: NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class Placed:
    """What an increment found.

    Attributes:
        sightings: N row ids.
        clusters: N, ids of stored clusters, or −1, −2, … for new ones.
        core: N, whether it may connect others.
        merged: stored clusters that became part of another.
    """

    sightings: list[int]
    clusters: list[int]
    core: list[bool]
    merged: dict[int, int] = field(default_factory=dict)


def stamp(connection: Connection) -> tuple[str, int]:
    """Differs after every change of the clusters."""
    version = connection.scalar(select(MetaRow.value).where(MetaRow.key == VERSION))
    count = connection.scalar(select(func.count()).select_from(ClusterMemberRow))
    return version or "", int(count or 0)


class ClusterIndex:
    """All unnamed sightings of a model that can be compared, about 700 bytes each.

    Args:
        model_id: of the encoder.
        rule: when two faces are the same person.
    """

    def __init__(self, model_id: str, rule: GroupingRule) -> None:
        self._model_id = model_id
        self._rule = rule
        self.stamp: tuple[str, int] | None = None
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._table: _Table | None = None
        self._last = 0
        self._places: dict[tuple[str, str], int] = {}
        self._states: dict[int, str] = {}
        self._near: Neighbours | None = None
        self._rows = np.zeros(0, np.int64)  # of the neighbours, in their order
        self._means = np.zeros(0, np.float32)

    def refresh(self, connection: Connection) -> None:
        """Read what is new; everything, where somebody else changed the clusters."""
        now = stamp(connection)
        if now != self.stamp:
            self.clear()
            self.stamp = now
            states = select(ClusterRow.id, ClusterRow.state).where(ClusterRow.state.in_(_OWN))
            self._states = {row.id: row.state for row in connection.execute(states)}
        parts = [] if self._table is None else [self._table]
        before = len(parts)
        while (part := self._read(connection)) is not None:
            parts.append(part)
        if len(parts) == before:
            return
        names = _Table.__slots__
        self._table = _Table(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
        self._grow()

    @property
    def waiting(self) -> int:
        """How many sightings have no cluster yet."""
        return 0 if self._table is None else int((self._table.cluster < 0).sum())

    def next(self, limit: int) -> Placed:
        """Where the oldest of those without a cluster belong; `keep` has to follow."""
        assert self._table is not None
        assert self._near is not None
        table = self._table
        new = np.flatnonzero(table.cluster < 0)[:limit]
        core = table.sigma <= CORE_SIGMA
        links, _other = self._links(new)
        found, stored = np.unique(table.cluster[self._rows], return_inverse=True)
        old = stored.astype(np.int64)
        sizes = np.bincount(old, minlength=len(found)).astype(np.int64)
        cores = np.concatenate([core[new], core[self._rows]])
        joined = join(
            links, cores, old, sizes, apart=lambda a, b: self._apart(int(found[a]), int(found[b]))
        )
        groups = self._without_simultaneous(new, joined, found)
        merged = {int(found[gone]): int(found[kept]) for gone, kept in joined.merged.items()}
        return Placed(table.sighting[new].tolist(), groups, core[new].tolist(), merged)

    def keep(self, placed: Placed, made: dict[int, int], now: tuple[str, int]) -> None:
        """Note what was written: ``made`` gives the ids of new clusters by their number below 0."""
        assert self._table is not None
        assert self._near is not None
        table = self._table
        for gone, kept in placed.merged.items():
            table.cluster[table.cluster == gone] = kept
            self._states.pop(gone, None)
        self._states.update(dict.fromkeys(made.values(), "open"))
        new = np.flatnonzero(table.cluster < 0)[: len(placed.sightings)]
        table.cluster[new] = [made.get(one, one) for one in placed.clusters]
        self._near.add(table.unit[new])
        self._rows = np.concatenate([self._rows, new])
        self.stamp = now

    def state(self, cluster: int) -> str:
        """``open`` or ``ignored``."""
        return self._states.get(cluster, "open")

    def _links(self, new: Ids) -> tuple[Links, Ids]:
        """The pairs that are similar enough, by row of the new ones and of the neighbours."""
        assert self._table is not None
        assert self._near is not None
        table, count = self._table, len(new)
        own = table.unit[new]
        ends, others = [], []
        scores, rows = self._near.search(own, NEAREST)
        first, column = np.nonzero(rows >= 0)
        ends.append(first)
        others.append(count + rows[first, column])
        cosines = [scores[first, column]]
        among = own @ own.T
        np.fill_diagonal(among, -np.inf)
        near = np.argsort(-among, axis=1, kind="stable")[:, :NEAREST]
        first = np.repeat(np.arange(count), near.shape[1])
        second = near.ravel()
        there = first != second
        ends.append(first[there])
        others.append(second[there])
        cosines.append(among[first[there], second[there]])
        a, b = np.concatenate(ends), np.concatenate(others)
        rows_of = np.concatenate([new, self._rows])
        similar = self._similarities(new[a], rows_of[b], np.concatenate(cosines), count)
        threshold = self._rule.thresholds.among(STRICTER * len(rows_of)).similarity
        good = similar >= threshold
        good[good] &= ~self._together(new[a[good]], rows_of[b[good]])
        return Links(a[good], b[good], similar[good]), rows_of

    def _similarities(self, a: Ids, b: Ids, cosines: Floats, count: int) -> Floats:
        """Normalised, less what the uncertainty costs."""
        assert self._table is not None
        sigma = self._table.sigma
        similar = np.asarray(cosines, np.float32).copy()
        cohort = self._rule.cohort
        if cohort is not None:
            # Those that cannot pass need no mean: strangers resemble each other a little.
            threshold = self._rule.thresholds.among(STRICTER * (count + len(self._rows)))
            maybe = np.flatnonzero(similar >= threshold.similarity - cohort.typical + 0.1)
            for rows in (a[maybe], b[maybe]):
                missing = np.unique(rows[np.isnan(self._means[rows])])
                if len(missing):
                    self._means[missing] = cohort.means(self._table.unit[missing])
            passed = cohort.normalised(similar[maybe], self._means[a[maybe]], self._means[b[maybe]])
            similar[:] = -np.inf
            similar[maybe] = passed
        return np.asarray(similar - self._rule.inflation(np.minimum(sigma[a], sigma[b])))

    def _together(self, a: Ids, b: Ids) -> NDArray[np.bool_]:
        """Pairs that one camera saw at the same time."""
        assert self._table is not None
        t = self._table
        over = (t.start[a] < t.end[b]) & (t.start[b] < t.end[a])
        over |= (t.start[a] == t.start[b]) & (t.end[a] == t.end[b])
        return np.asarray(over & (t.place[a] == t.place[b]))

    def _apart(self, gone: int, kept: int) -> bool:
        """Whether two stored clusters may not become one."""
        assert self._table is not None
        table = self._table
        one, other = (np.flatnonzero(table.cluster == c) for c in (gone, kept))
        pinned = bool(table.pinned[one].any()), bool(table.pinned[other].any())
        if all(pinned):
            return True
        if self.state(gone) != self.state(kept):
            # A single face that resembles somebody ignored is put there.
            return self.state(kept) != "ignored" or len(one) > 1 or pinned[0]
        shared = np.intersect1d(table.place[one], table.place[other])
        for row in one[np.isin(table.place[one], shared)].tolist():
            same = other[table.place[other] == table.place[row]]
            span = float(table.start[row]), float(table.end[row])
            if simultaneous(table.start[same], table.end[same], span):
                return True
        return False

    def _without_simultaneous(self, new: Ids, joined: Joined, found: Ids) -> list[int]:
        """The cluster of each new row; one that was there beside a member is on its own."""
        assert self._table is not None
        table = self._table
        groups = [int(found[g]) if g >= 0 else int(g) for g in joined.group]
        fresh = min([0, *groups])
        touched = np.unique([g for g in groups if g >= 0])
        rows = np.flatnonzero(np.isin(table.cluster, touched)) if len(touched) else new[:0]
        seen: dict[tuple[int, int], list[tuple[float, float]]] = {}
        wanted = {(g, int(table.place[row])) for g, row in zip(groups, new.tolist(), strict=True)}
        for row in rows.tolist():
            key = int(table.cluster[row]), int(table.place[row])
            if key in wanted:
                seen.setdefault(key, []).append((float(table.start[row]), float(table.end[row])))
        for at in np.argsort(-joined.similarity, kind="stable").tolist():
            row = int(new[at])
            key = groups[at], int(table.place[row])
            span = float(table.start[row]), float(table.end[row])
            others = np.array(seen.get(key, []), np.float64).reshape(-1, 2)
            if simultaneous(others[:, 0], others[:, 1], span):
                fresh -= 1
                groups[at] = fresh
            else:
                seen.setdefault(key, []).append(span)
        return groups

    def _grow(self) -> None:
        """Take what has a cluster, and is not there yet, into the search."""
        assert self._table is not None
        table = self._table
        if self._near is None:
            self._near = Neighbours(table.unit.shape[1])
        more = np.full(len(table.sigma) - len(self._means), np.nan, np.float32)
        self._means = np.concatenate([self._means, more])
        there = np.zeros(len(table.sigma), np.bool_)
        there[self._rows] = True
        rows = np.flatnonzero((table.cluster >= 0) & ~there)
        self._near.add(table.unit[rows])
        self._rows = np.concatenate([self._rows, rows])

    def _read(self, connection: Connection) -> _Table | None:
        """The next sightings; None when there are no more."""
        rows = connection.execute(
            _unnamed(self._model_id, self._rule.thresholds.max_sigma)
            .where(SightingTemplateRow.id > self._last)
            .limit(_CHUNK)
        ).all()
        if not rows:
            return None
        self._last = rows[-1].template
        start = np.array([row.seen_at.timestamp() for row in rows])
        length = np.array([max(0.0, row.end_pts - row.start_pts) for row in rows])
        places = [self._place(row) for row in rows]
        return _Table(
            sighting=np.array([row.sighting_id for row in rows], np.int64),
            unit=normalise(opened_means(connection, rows)),
            sigma=np.array([row.clearest for row in rows], np.float32),
            start=start,
            end=start + length,
            place=np.array(places, np.int64),
            cluster=np.array(
                [row.cluster_id if row.cluster_id in self._states else -1 for row in rows], np.int64
            ),
            pinned=np.array([bool(row.pinned) for row in rows], np.bool_),
        )

    def _place(self, row: Any) -> int:
        """A number of the run and the camera: times of others cannot be compared."""
        return self._places.setdefault((row.run_id, row.source), len(self._places))


def _unnamed(model_id: str, max_sigma: float) -> Any:
    template, member = SightingTemplateRow, ClusterMemberRow
    return (
        select(
            template.id.label("template"),
            template.sighting_id,
            template.model_id,
            template.mu,
            SightingRow.clearest,
            SightingRow.seen_at,
            SightingRow.start_pts,
            SightingRow.end_pts,
            SightingRow.run_id,
            SightingRow.source,
            member.cluster_id,
            member.pinned,
        )
        .join(SightingRow, SightingRow.id == template.sighting_id)
        .outerjoin(member, member.sighting_id == template.sighting_id)
        .where(
            template.model_id == model_id,
            SightingRow.person_id.is_(None),
            SightingRow.clearest <= max_sigma,
        )
        .order_by(template.id)
    )
