"""Was this face here? Search over the fused embeddings of all stored sightings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, String, select, type_coerce

from ..core.types import Floats
from ..identity.grouping import GroupingRule
from ..recognition.uncertainty import normalise
from ..storage.schema import SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means
from .erasing import erasures
from .records import Sighting
from .store import Sightings
from .vectors import Columns, VectorBlocks

# The most similar by cosine, whose similarities are then normalised by the cohort.
SHORTLIST = 1024
_CHUNK = 20_000


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


class SightingIndex:
    """The embeddings of all sightings of one model, in memory: about 550 bytes a sighting.

    Exact: each search compares all of them. May be used from one thread at a time.

    Args:
        sightings: the database.
        model_id: sightings of other models are not comparable and left out.
        rule: when two faces are the same person, see `open_grouping`. Sightings above its
            ``max_sigma`` show too little and are left out. It may be replaced.
    """

    def __init__(self, sightings: Sightings, model_id: str, rule: GroupingRule) -> None:
        self._sightings = sightings
        self._model_id = model_id
        self.rule = rule
        self._sources: dict[str, int] = {}
        self._last = 0  # id of the last embedding that was read
        self._erased: str | None = None
        self._vectors = VectorBlocks()
        # Row of the embedding and of the sighting, sigma of its surest embedding, seconds since
        # the epoch, and number of the source.
        self._rows = Columns(
            template=np.int64, sighting=np.int64, sigma=np.float32, seen=np.float64, source=np.int32
        )

    def __len__(self) -> int:
        """How many embeddings were read."""
        return len(self._vectors)

    def refresh(self) -> None:
        """Read the sightings that ended since, and drop those that were erased.

        This costs what is new, not what there is.
        """
        with self._sightings.reading() as connection:
            self._drop_erased(connection)
            while self._read(connection):
                pass

    def _drop_erased(self, connection: Connection) -> None:
        erased = erasures(connection)
        if erased != self._erased and len(self):
            there = np.array(list(connection.scalars(select(SightingTemplateRow.id))), np.int64)
            kept = np.flatnonzero(np.isin(self._rows["template"], there))
            if len(kept) < len(self):
                self._vectors.keep(kept)
                self._rows.keep(kept)
        self._erased = erased

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
        thresholds = self.rule.thresholds.among(len(among))
        stated = None if thresholds.false_matches is None else thresholds.false_alarms
        if not len(among):
            return SearchResult((), 0, thresholds.similarity, stated)
        rows, scores = self._passing(
            normalise(mu[None])[0], among, sigma=sigma, least=thresholds.similarity
        )
        best = np.argsort(-scores, kind="stable")
        # An embedding that was replaced is here twice: the more similar one counts.
        similar: dict[int, float] = {}
        for row, score in zip(self._rows["sighting"][rows[best]], scores[best], strict=True):
            similar.setdefault(int(row), float(score))
        ids = list(similar)[:limit]
        found = self._sightings.by_row_id(ids)
        hits = [
            Hit(found[row], similar[row], thresholds.probability(similar[row]))
            for row in ids
            if row in found  # else it was erased meanwhile
        ]
        return SearchResult(tuple(hits), len(among), thresholds.similarity, stated)

    def _passing(
        self, unit: Floats, among: NDArray[np.int64], *, sigma: float, least: float
    ) -> tuple[NDArray[np.int64], Floats]:
        """The sightings that are similar enough, and their similarities."""
        few = len(among) < len(self._vectors) // 8
        cosines = self._vectors.take(among) @ unit if few else self._vectors.dot(unit)[among]
        if len(cosines) > SHORTLIST:
            near = np.argpartition(cosines, -SHORTLIST)[-SHORTLIST:]
            among, cosines = among[near], cosines[near]
        surer = np.minimum(self._rows["sigma"][among], sigma).astype(np.float32)
        needed = least + self.rule.inflation(surer)
        cohort = self.rule.cohort
        if cohort is None:
            passed = cosines >= needed
            return among[passed], cosines[passed]
        probe, vectors = cohort.means(unit[None]), self._vectors.take(among)
        # Comparing a thousand with the cohort takes longer than the search. Most of them cannot
        # pass, whatever they share with strangers.
        possible = cohort.normalised(cosines, probe, cohort.least_means(vectors)) >= needed
        among, vectors, needed = among[possible], vectors[possible], needed[possible]
        scores = cohort.normalised(cosines[possible], probe, cohort.means(vectors))
        passed = scores >= needed
        return among[passed], scores[passed]

    def _select(
        self, since: datetime | None, until: datetime | None, sources: tuple[str, ...] | None
    ) -> NDArray[np.int64]:
        wanted = self._rows["sigma"] <= self.rule.thresholds.max_sigma
        if since is not None:
            wanted &= self._rows["seen"] >= since.timestamp()
        if until is not None:
            wanted &= self._rows["seen"] < until.timestamp()
        if sources is not None:
            numbers = [self._sources[name] for name in sources if name in self._sources]
            wanted &= np.isin(self._rows["source"], numbers)
        return np.flatnonzero(wanted)

    def _read(self, connection: Connection) -> bool:
        """Add the next embeddings; False when there are no more."""
        query = (
            select(
                SightingTemplateRow.id,
                SightingTemplateRow.sighting_id,
                SightingTemplateRow.model_id,
                SightingTemplateRow.mu,
                SightingRow.clearest,
                # As it is stored: making a million datetimes takes seconds.
                type_coerce(SightingRow.seen_at, String).label("seen"),
                SightingRow.source,
            )
            .join(SightingRow, SightingRow.id == SightingTemplateRow.sighting_id)
            .where(
                SightingTemplateRow.id > self._last, SightingTemplateRow.model_id == self._model_id
            )
            .order_by(SightingTemplateRow.id)
            .limit(_CHUNK)
        )
        rows = connection.execute(query).all()
        if not rows:
            return False
        template, sighting, _, _, sigma, seen, source = zip(*rows, strict=True)
        self._vectors.append(normalise(opened_means(connection, rows)))
        numbers = [self._sources.setdefault(one, len(self._sources)) for one in source]
        self._rows.append(
            template=np.array(template, np.int64),
            sighting=np.array(sighting, np.int64),
            sigma=np.array([np.inf if one is None else one for one in sigma], np.float32),
            seen=_seconds(seen),
            source=np.array(numbers, np.int32),
        )
        self._last = int(template[-1])
        return True


def _seconds(times: Sequence[str]) -> NDArray[np.float64]:
    """Seconds since the epoch of times in UTC as ``UtcTime`` stores them."""
    zoneless = [time.partition("+")[0] for time in times]
    micros: NDArray[np.int64] = np.array(zoneless, "datetime64[us]").astype(np.int64)
    return micros / 1e6
