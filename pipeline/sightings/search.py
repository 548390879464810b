"""Was this face here? Search over the fused embeddings of all stored sightings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from ..core.types import Floats
from ..identity.grouping import GroupingRule
from ..recognition.uncertainty import normalise
from ..storage.schema import SightingRow, SightingTemplateRow
from .records import Sighting
from .store import Sightings, stored_floats

# The most similar by cosine, whose similarities are then normalised by the cohort.
SHORTLIST = 1024
_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Hit:
    """A sighting that may show the face.

    Attributes:
        similarity: of the face and the sighting, −1..1, as in events.
        probability: calibrated, that both are one person.
    """

    sighting: Sighting
    similarity: float
    probability: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        hits: the most similar first.
        searched: how many sightings the face was compared with.
        threshold: similarity from which a sighting of a clear face is listed.
        false_alarms: of searches for somebody who was never there, the share that lists anything;
            None with a threshold that does not depend on the number of sightings.
    """

    hits: tuple[Hit, ...]
    searched: int
    threshold: float
    false_alarms: float | None


class _Rows(NamedTuple):
    """N sightings.

    Attributes:
        template: N, ids of their embeddings.
        sighting: N, ids of their rows.
        unit: N×D, the embeddings at length 1.
        sigma: N, of their surest embeddings.
        seen: N, seconds since the epoch.
        source: N, numbers of the sources.
    """

    template: NDArray[np.int64]
    sighting: NDArray[np.int64]
    unit: Floats
    sigma: Floats
    seen: NDArray[np.float64]
    source: NDArray[np.int64]


class SightingIndex:
    """The embeddings of all sightings of one model, in memory: about 550 bytes a sighting.

    Exact: each search compares all of them. May be used from one thread at a time.

    Args:
        sightings: the database.
        model_id: sightings of other models are not comparable and left out.
        rule: when two faces are the same person, see `open_grouping`. Sightings above its
            ``max_sigma`` show too little and are left out.
    """

    def __init__(self, sightings: Sightings, model_id: str, rule: GroupingRule) -> None:
        self._sightings = sightings
        self._model_id = model_id
        self._rule = rule
        self._rows: _Rows | None = None
        self._sources: dict[str, int] = {}

    def refresh(self) -> None:
        """Read the sightings that ended since."""
        parts = [] if self._rows is None else [self._rows]
        with self._sightings.reading() as connection:
            while (part := self._read(connection, parts[-1] if parts else None)) is not None:
                parts.append(part)
        if len(parts) > 1:
            self._rows = _Rows(*(np.concatenate(of_all) for of_all in zip(*parts, strict=True)))
        elif parts:
            self._rows = parts[0]

    def search(
        self,
        mu: Floats,
        *,
        sigma: float,
        since: datetime | None = None,
        until: datetime | None = None,
        sources: tuple[str, ...] | None = None,
        limit: int = 100,
    ) -> SearchResult:
        """The sightings that show this face, of those that are stored now.

        Args:
            mu: D, the face's embedding.
            sigma: its uncertainty.
            since, until, sources: as in `SightingFilter`.
            limit: most hits.
        """
        self.refresh()
        among = self._select(since, until, sources)
        thresholds = self._rule.thresholds.among(len(among))
        stated = None if thresholds.false_matches is None else thresholds.false_alarms
        if self._rows is None or not len(among):
            return SearchResult((), 0, thresholds.similarity, stated)
        rows, scores = self._scores(normalise(mu[None])[0], among)
        surer = np.minimum(self._rows.sigma[rows], sigma).astype(np.float32)
        passed = np.flatnonzero(scores - self._rule.inflation(surer) >= thresholds.similarity)
        best = passed[np.argsort(-scores[passed], kind="stable")][:limit]
        ids = self._rows.sighting[rows[best]].tolist()
        found = self._sightings.by_row_id(ids)
        hits = [
            Hit(found[row], float(score), thresholds.probability(float(score)))
            for row, score in zip(ids, scores[best], strict=True)
            if row in found  # else it was erased meanwhile
        ]
        return SearchResult(tuple(hits), len(among), thresholds.similarity, stated)

    def _scores(self, unit: Floats, among: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """The nearest sightings and their similarities."""
        assert self._rows is not None
        all_of_them = len(among) == len(self._rows.unit)
        vectors = self._rows.unit if all_of_them else self._rows.unit[among]
        cosines = vectors @ unit
        if len(cosines) > SHORTLIST:
            near = np.argpartition(-cosines, SHORTLIST)[:SHORTLIST]
            among, cosines = among[near], cosines[near]
        cohort = self._rule.cohort
        if cohort is None:
            return among, cosines
        templates = cohort.means(self._rows.unit[among])
        return among, cohort.normalised(cosines, cohort.means(unit[None]), templates)

    def _select(
        self, since: datetime | None, until: datetime | None, sources: tuple[str, ...] | None
    ) -> NDArray[np.int64]:
        if self._rows is None:
            return np.zeros(0, np.int64)
        wanted = self._rows.sigma <= self._rule.thresholds.max_sigma
        if since is not None:
            wanted &= self._rows.seen >= since.timestamp()
        if until is not None:
            wanted &= self._rows.seen < until.timestamp()
        if sources is not None:
            numbers = [self._sources[name] for name in sources if name in self._sources]
            wanted &= np.isin(self._rows.source, numbers)
        return np.flatnonzero(wanted)

    def _read(self, connection: Connection, before: _Rows | None) -> _Rows | None:
        """The next embeddings after those; None when there are no more."""
        last = 0 if before is None else int(before.template[-1])
        query = (
            select(
                SightingTemplateRow.id,
                SightingTemplateRow.sighting_id,
                SightingTemplateRow.mu,
                SightingRow.clearest,
                SightingRow.seen_at,
                SightingRow.source,
            )
            .join(SightingRow, SightingRow.id == SightingTemplateRow.sighting_id)
            .where(SightingTemplateRow.id > last, SightingTemplateRow.model_id == self._model_id)
            .order_by(SightingTemplateRow.id)
            .limit(_CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return None
        template, sighting, mu, sigma, seen, source = zip(*rows, strict=True)
        vectors = stored_floats(b"".join(mu)).reshape(len(rows), -1)
        return _Rows(
            template=np.array(template, np.int64),
            sighting=np.array(sighting, np.int64),
            unit=normalise(vectors),
            sigma=np.array([np.inf if one is None else one for one in sigma], np.float32),
            seen=np.array([one.timestamp() for one in seen]),
            source=np.array([self._sources.setdefault(s, len(self._sources)) for s in source]),
        )
