"""Past sightings are decided again when somebody is enrolled, or is found not to be somebody."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from facestream.engines.cards import ModelCard, load_card
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..core.types import Floats, Identity, Matches
from ..gallery.calibrated import read_calibration
from ..gallery.changes import Snapshot, read_snapshot
from ..gallery.guard import NEAREST
from ..gallery.index import TemplateIndex
from ..gallery.learn import Surroundings
from ..gallery.rejections import read_rejections
from ..identity.clustering import simultaneous
from ..identity.decision import Thresholds, verdict_of
from ..identity.search import Matcher, MatchQuery, open_rules
from ..recognition.cohort import Cohort
from ..recognition.encoder import DEFAULT_MODEL
from ..recognition.uncertainty import normalise
from ..storage.database import chunks
from ..storage.history import RecordedChange, changing
from ..storage.schema import SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means
from .store import Sightings
from .transactions import deciding

_CHUNK = 20_000
_BLOCK = 4096
# Two faces of which strangers' mean similarity is at least so high; of real ones it is 0.2 to 0.4.
_LEAST_MEAN = 0.1


class Candidates(NamedTuple):
    """Sightings that may be of somebody, found by a first look; ``last`` is the last template."""

    ids: list[int]
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class _SnapshotSearch:
    """Searches the people as they are within a transaction."""

    index: TemplateIndex
    cohort: Cohort | None
    rejections: Any

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        times = None if at is None else np.array(at, np.float64)
        found = self.index.search(mu, k, cohort=self.cohort, at=times)
        return found if self.rejections is None else self.rejections.apply(found, mu, self.cohort)

    def templates(self) -> int:
        return len(self.index)

    def refresh(self) -> bool:
        return False


class Decider:
    """Decides on stored sightings as a run would, by the people who are enrolled now.

    Args:
        connection: the people as this transaction sees them.
        settings: those of each source decide on its sightings.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        card: ModelCard = load_card(DEFAULT_MODEL)
        self.model_id = card.id
        self._connection, self._settings = connection, settings
        self._calibrated = read_calibration(connection)
        thresholds, cohort = open_rules(card, settings.recognition, self._calibrated)
        self._usual = thresholds
        # Of each kind of settings once: the cohort is a file.
        self._rules: dict[str, Thresholds] = {settings.recognition.model_dump_json(): thresholds}
        self._card = card
        with Session(connection) as session:
            snapshot: Snapshot = read_snapshot(session)
        self.usable = snapshot.model_id == card.id
        self._rejections = read_rejections(connection, card.id)
        index = TemplateIndex(snapshot)
        self._searcher = _SnapshotSearch(index, cohort, self._rejections)
        self._matcher = Matcher(self._searcher, thresholds)

    def decide(self, ids: Collection[int]) -> Iterator[tuple[Any, Identity, dict[str, Any]]]:
        """Each sighting with an embedding: its row, who it is, and the columns for that.

        None where the gallery's embeddings are another model's.
        """
        for part in chunks(ids if self.usable else ()):
            query = _select(self.model_id).where(SightingRow.id.in_(part))
            rows = self._connection.execute(query).all()
            if not rows:
                continue
            times = [row.seen_at.timestamp() for row in rows]
            matches = self._matcher.search(opened_means(self._connection, rows), at=times)
            for row, found in zip(rows, matches, strict=True):
                yield row, *self._one(row, found)

    def _one(self, row: Any, found: Matches) -> tuple[Identity, dict[str, Any]]:
        thresholds = self._thresholds(row.source)
        sigma = float("inf") if row.clearest is None else row.clearest
        side = float(min(row.box[2] - row.box[0], row.box[3] - row.box[1]))
        (identity,) = self._matcher.decide([MatchQuery(found, sigma, side)], thresholds=thresholds)
        return identity, {
            "person_id": identity.person_id,
            "verdict": verdict_of(identity, sigma, thresholds.stranger, self._matcher.templates()),
            "similarity": identity.similarity,
            "probability": identity.probability,
            "reason": identity.reason,
        }

    def _thresholds(self, source: str) -> Thresholds:
        recognition = self._settings.for_source(source).recognition
        key = recognition.model_dump_json()
        if key not in self._rules:
            self._rules[key] = open_rules(self._card, recognition, self._calibrated)[0]
        return self._rules[key]

    def surroundings(self, mu: Floats) -> Surroundings:
        """Whom faces (N×D) are compared with before they are learned."""
        found = self._searcher.search(normalise(mu), NEAREST)
        cohort, templates = self._searcher.cohort, self._searcher.templates()
        return Surroundings(self._usual, cohort, templates, found)


def look_for(
    connection: Connection,
    unit: Floats,
    settings: Settings,
    *,
    after: int = 0,
    progress: Any = None,
) -> Candidates:
    """Unnamed sightings that may be of somebody, of all that nobody decided on by hand.

    Args:
        unit: A×D of length 1, the faces of the person.
        after: only templates with a larger id.
        progress: is called with the number done and ``total``.
    """
    card = load_card(DEFAULT_MODEL)
    thresholds, cohort = open_rules(card, settings.recognition, read_calibration(connection))
    least = thresholds.similarity
    least += 0 if cohort is None else _LEAST_MEAN - cohort.typical
    found: list[int] = []
    done, total = 0, _count(connection, card.id, after) if progress is not None else 0
    while len(unit):
        query = _select(card.id).where(
            SightingRow.person_id.is_(None),
            SightingRow.fixed.is_(None),
            SightingTemplateRow.id > after,
        )
        rows = connection.execute(query.limit(_CHUNK)).all()
        if not rows:
            break
        after = rows[-1].template
        near = _near(normalise(opened_means(connection, rows)), unit, least)
        found += [row.id for row, good in zip(rows, near.tolist(), strict=True) if good]
        done += len(rows)
        if progress is not None:
            progress(done, total=max(total, done))
    return Candidates(found, after)


def name_candidates(
    change: RecordedChange,
    settings: Settings,
    people: Collection[int],
    found: Candidates,
    unit: Floats,
    *,
    cause: str,
) -> int:
    """Within a transaction, decide on candidates and name those that are one of these people.

    Returns:
        How many got a name.
    """
    connection = change.connection
    later = look_for(connection, unit, settings, after=found.last)
    decider = Decider(connection, settings)
    if not decider.usable:
        return 0
    decided = [
        (row, identity, columns)
        for row, identity, columns in decider.decide([*found.ids, *later.ids])
        if row.person_id is None and row.fixed is None and identity.person_id in people
    ]
    taken = _spans(connection, {one[2]["person_id"] for one in decided})
    values: dict[int, Mapping[str, Any]] = {}
    for row, identity, columns in sorted(decided, key=lambda one: -one[1].similarity):
        # Nobody is twice before one camera.
        others = taken.setdefault((identity.person_id, row.run_id, row.source), [])
        there = np.array(others, np.float64).reshape(-1, 2)
        span = _span(row)
        if not simultaneous(there[:, 0], there[:, 1], span):
            others.append(span)
            values[row.id] = columns
    return change.decide(values, cause=cause)


def reidentify(
    sightings: Sightings,
    settings: Settings,
    people: Collection[int],
    *,
    who: str | None = None,
    progress: Any = None,
) -> int:
    """Search past unnamed sightings for people who were enrolled, and name those that are they.

    Decisions of humans stay. It is one operation, which can be undone.

    Args:
        people: ids.
        progress: is called with the number of sightings done, and ``total``.

    Returns:
        How many sightings were named.
    """
    people = frozenset(people)
    with sightings.reading() as connection:
        unit = faces_of(connection, people)
        found = look_for(connection, unit, settings, progress=progress)
    if not found.ids:
        return 0
    only = f"{{{next(iter(people))}}}" if len(people) == 1 else f"of {len(people)} people"
    with (
        deciding(sightings) as connection,
        changing(connection, "reidentify", f"named past sightings {only}", who=who) as change,
    ):
        here = faces_of(connection, people)
        named = name_candidates(change, settings, people, found, here, cause="enrolled since")
        if not named:
            change.forget()
    return named


def faces_of(connection: Connection, people: Collection[int]) -> Floats:
    """The embeddings of people's photos, A×D of length 1."""
    with Session(connection) as session:
        templates = read_snapshot(session).templates
    return normalise(templates.mu[np.isin(templates.person_ids, sorted(people))])


def _near(faces: Floats, unit: Floats, least: float) -> NDArray[np.bool_]:
    """Which faces are so similar to any of the others."""
    found = np.zeros(len(faces), np.bool_)
    for start in range(0, len(unit), _BLOCK):
        found |= (faces @ unit[start : start + _BLOCK].T).max(axis=1) >= least
    return found


def _select(model_id: str) -> Any:
    template = SightingTemplateRow
    return (
        select(
            SightingRow.id, SightingRow.uid, SightingRow.source, SightingRow.run_id,
            template.sighting_id, template.model_id,
            SightingRow.seen_at, SightingRow.start_pts, SightingRow.end_pts, SightingRow.box,
            SightingRow.clearest, SightingRow.person_id, SightingRow.fixed,
            template.id.label("template"), template.mu,
        )
        .join(template, template.sighting_id == SightingRow.id)
        .where(template.model_id == model_id)
        .order_by(template.id)
    )  # fmt: skip


def _count(connection: Connection, model_id: str, after: int) -> int:
    """How many sightings may have to be looked at; an upper limit."""
    last = select(SightingTemplateRow.id).where(SightingTemplateRow.model_id == model_id)
    row = connection.execute(last.order_by(SightingTemplateRow.id.desc()).limit(1)).first()
    return 0 if row is None else max(0, row.id - after)


def _spans(connection: Connection, people: Collection[int]) -> dict[Any, list[Any]]:
    """When people were seen, by person, run and camera."""
    spans: dict[Any, list[Any]] = {}
    query = select(
        SightingRow.person_id, SightingRow.run_id, SightingRow.source,
        SightingRow.seen_at, SightingRow.start_pts, SightingRow.end_pts,
    )  # fmt: skip
    for part in chunks(people):
        for row in connection.execute(query.where(SightingRow.person_id.in_(part))):
            spans.setdefault((row.person_id, row.run_id, row.source), []).append(_span(row))
    return spans


def _span(row: Any) -> tuple[float, float]:
    start = row.seen_at.timestamp()
    return start, start + max(0.0, row.end_pts - row.start_pts)
