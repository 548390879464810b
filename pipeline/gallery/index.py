"""From embeddings to people: a vector index over all photos, answers grouped by person.

Each photo is a template of its own; a person is as similar as the most similar of them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from facestream.engines.index import (
    DEFAULT_OPTIONS,
    IndexInfo,
    IndexOptions,
    LayeredIndex,
    index_over,
)
from numpy.typing import NDArray

from ..core.types import Floats, Matches
from ..recognition.cohort import Cohort
from .changes import Delta, Snapshot
from .templates import Ids, Templates

# Templates that are normalised at once, so that it takes no second copy of all of them.
_CHUNK = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The person of each photo; removed photos stay listed. Never changed."""

    photo_ids: Ids
    person_ids: Ids


class TemplateIndex:
    """The index of a gallery. Threads may search it while one updates it.

    Args:
        snapshot: is searched; the index owns its ``mu`` and normalises it in place.
        options: how to search.

    Raises:
        BackendUnavailable: the index cannot serve here.
        InferenceError: there are too many templates for it.
    """

    def __init__(self, snapshot: Snapshot, *, options: IndexOptions = DEFAULT_OPTIONS) -> None:
        self.head = snapshot.head
        self.model_id = snapshot.model_id
        self._names = snapshot.names
        self._validity = snapshot.validity
        self.last_photo = int(snapshot.templates.photo_ids.max(initial=-1))
        self._table, unit = _searchable(snapshot.templates)
        self._index: LayeredIndex | None = None
        # The templates' mean similarity to a cohort (its vectors' checksum), NaN until needed.
        self._means: dict[str, Floats] = {}
        self._means_lock = threading.Lock()
        if len(unit):
            self._index = index_over(self._table.photo_ids, unit, options=options)

    @property
    def info(self) -> IndexInfo:
        """The index that searches."""
        if self._index is None:
            return IndexInfo("none", "CPU", "the gallery is empty")
        return IndexInfo(self._index.kind, self._index.device, self._index.reason)

    def __len__(self) -> int:
        """How many templates there are."""
        return 0 if self._index is None else len(self._index)

    def update(self, delta: Delta) -> bool:
        """Apply changes, from one thread at a time; False, unchanged, when it must be rebuilt.

        Raises InferenceError if the index failed; rebuild it.
        """
        templates = delta.templates
        if self._index is None or (len(templates.mu) and templates.mu.shape[1] != self._index.dim):
            return False
        self._validity = delta.validity
        self._names.update(delta.names)  # before the index can find the new ones
        if len(templates.mu):
            self.last_photo = int(templates.photo_ids.max())
            new, unit = _searchable(templates)
            table = self._table
            # Before the index can find them.
            self._table = _Table(
                np.concatenate([table.photo_ids, new.photo_ids]),
                np.concatenate([table.person_ids, new.person_ids]),
            )
            self._index.add(new.photo_ids, unit)
        if delta.removed or delta.removed_photos:
            table = self._table
            gone = np.isin(table.person_ids, np.array(sorted(delta.removed), np.int64))
            gone |= np.isin(table.photo_ids, np.array(sorted(delta.removed_photos), np.int64))
            self._index.remove(table.photo_ids[gone])
        self.head = delta.head
        return True

    def search(
        self,
        mu: Floats,
        k: int,
        *,
        cohort: Cohort | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> Matches:
        """See ``Gallery.search``; a row that is zero or not finite matches no one."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        index = self._index
        dim = index.dim if index is not None else None
        if mu.ndim != 2 or dim not in (None, mu.shape[1]):
            raise ValueError(f"embeddings must be N×{dim or 'D'}, not {mu.shape}")
        similarities = np.full((len(mu), k), -np.inf, np.float32)
        people = np.full((len(mu), k), -1, np.int64)
        if index is not None and len(index) and len(mu):
            unit, usable = normalised(mu)
            rows = np.flatnonzero(usable)
            when = _times(at, len(mu))
            # Several photos of one person can fill the first places: ask for more until there
            # are k people for each face, or all photos were seen.
            total, people_at_most = len(index), len(self._names)
            depth = min(total, 4 * k)
            while len(rows):
                scores, people_of = self._photos(index, unit[rows], depth, cohort, when[rows])
                short = []
                for row, score, person in zip(rows, scores, people_of, strict=True):
                    best, first = np.unique(person, return_index=True)
                    order = np.sort(first[best >= 0])[:k]
                    similarities[row, : len(order)] = score[order]
                    people[row, : len(order)] = person[order]
                    if len(order) < min(k, people_at_most):
                        short.append(row)
                if depth == total:
                    break
                rows = np.array(short, np.int64)
                depth = min(total, 4 * depth)
        known = self._names
        names = tuple(
            tuple(None if person < 0 else known.get(int(person)) for person in row)
            for row in people
        )
        return Matches(similarities, people, names)

    def _photos(
        self,
        index: LayeredIndex,
        unit: Floats,
        depth: int,
        cohort: Cohort | None,
        at: NDArray[np.float64],
    ) -> tuple[Floats, Ids]:
        """Similarities and people of the ``depth`` nearest photos (by cosine), best first. −1 for
        photos that take no part at that time, or were removed meanwhile."""
        scores, ids = index.search(unit, depth)
        # After the search: all photos that it found are listed.
        table = self._table
        rows = np.searchsorted(table.photo_ids, ids)
        rows = np.where(ids < 0, 0, rows)
        there = ids >= 0
        validity = self._validity
        if len(validity.photo_ids):
            there &= ~validity.outside(ids, at)
        if cohort is not None:
            probe = cohort.means(unit)[:, None]
            means = self._template_means(index, table, rows, cohort)
            there &= ~np.isnan(means)  # removed between the search and now
            scores = cohort.normalised(scores, probe, np.where(there, means, 0))
            scores = np.where(there, scores, np.float32(-np.inf))
            order = np.argsort(-scores, axis=1, kind="stable")
            scores = np.take_along_axis(scores, order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
            there = np.take_along_axis(there, order, axis=1)
        return scores, np.where(there, table.person_ids[rows], -1)

    def _template_means(
        self, index: LayeredIndex, table: _Table, rows: Ids, cohort: Cohort
    ) -> Floats:
        """Mean similarity of these templates to the cohort; each is computed once. NaN for those
        that were removed before it was computed."""
        with self._means_lock:
            means = self._means.get(cohort.card.sha256, np.zeros(0, np.float32))
            if len(means) < len(table.photo_ids):
                room = max(len(table.photo_ids), len(means) + len(means) // 4)
                more = np.full(room - len(means), np.nan, np.float32)
                means = self._means[cohort.card.sha256] = np.concatenate([means, more])
            wanted = np.unique(rows)
            missing = wanted[np.isnan(means[wanted])]
            if len(missing):
                unit, there = index.vectors(table.photo_ids[missing])
                means[missing[there]] = cohort.means(unit[there])
            found: Floats = means[rows]
            return found


def _times(at: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    """Seconds since the epoch; now where they are not known."""
    now = np.full(count, time.time())
    return now if at is None else np.where(np.isfinite(at), np.asarray(at, np.float64), now)


def _searchable(templates: Templates) -> tuple[_Table, Floats]:
    """The photos whose embedding has a direction, and these, normalised in place."""
    mu = templates.mu
    usable = np.zeros(len(mu), np.bool_)
    for start in range(0, len(mu), _CHUNK):
        rows = slice(start, start + _CHUNK)
        mu[rows], usable[rows] = normalised(mu[rows])
    if usable.all():
        return _Table(templates.photo_ids, templates.person_ids), mu
    return _Table(templates.photo_ids[usable], templates.person_ids[usable]), mu[usable]


def normalised(mu: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows of length 1, and which of them have a direction at all; the others are zero."""
    mu = np.ascontiguousarray(mu, np.float32)
    length = np.linalg.norm(mu, axis=1, keepdims=True)
    usable = np.isfinite(length[:, 0]) & (length[:, 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = (mu / length).astype(np.float32, copy=False)
    if not usable.all():
        unit[~usable] = 0
    return unit, usable
