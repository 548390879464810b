"""From embeddings to people: a vector index over all photos, answers grouped by person.

Each photo is a template of its own; a person is as similar as the most similar of them.
"""

from __future__ import annotations

import threading

import numpy as np
from facestream.engines.base import Index
from facestream.engines.index import open_index
from numpy.typing import NDArray

from ..types import Floats
from ..vision.cohort import Cohort
from .decision import Matches
from .store import Snapshot


class TemplateIndex:
    """The index of one snapshot of a gallery; never changed, so threads may share it.

    Args:
        snapshot: what is searched.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._names = snapshot.names
        self._photo_ids = snapshot.photo_ids
        self._person_ids = snapshot.person_ids
        self._people = int(np.unique(snapshot.person_ids).size)
        self._index: Index | None = None
        # The engines promise nothing about a search during a search.
        self._lock = threading.Lock()
        # The templates' mean similarity to a cohort (its vectors' checksum), NaN until needed.
        self._means: dict[str, Floats] = {}
        self._unit = snapshot.mu
        if len(snapshot.photo_ids):
            unit, usable = _normalised(snapshot.mu)
            self._unit = unit
            self._index = open_index(snapshot.mu.shape[1])
            self._index.add(snapshot.photo_ids[usable], unit[usable])

    @property
    def dim(self) -> int | None:
        """Length of the embeddings; None when there are none."""
        return None if self._index is None else self._index.dim

    def __len__(self) -> int:
        """How many templates there are."""
        return 0 if self._index is None else len(self._index)

    def search(self, mu: Floats, k: int, *, cohort: Cohort | None = None) -> Matches:
        """The k most similar people of each face.

        Args:
            mu: N×D, need not be normalised; a row that is zero or not finite matches nobody.
            k: at least 1.
            cohort: the similarities are normalised against it; None leaves them cosines.

        Raises:
            ValueError: the shape does not fit or k is below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if mu.ndim != 2 or (self.dim is not None and mu.shape[1] != self.dim):
            raise ValueError(f"embeddings must be N×{self.dim or 'D'}, not {mu.shape}")
        similarities = np.full((len(mu), k), -np.inf, np.float32)
        people = np.full((len(mu), k), -1, np.int64)
        if self._index is not None and len(mu):
            unit, usable = _normalised(mu)
            rows = np.flatnonzero(usable)
            # Several photos of one person can fill the first places: ask for more until there
            # are k people for each face, or all photos were seen.
            depth = min(len(self._index), 4 * k)
            while len(rows):
                scores, people_of = self._photos(unit[rows], depth, cohort)
                short = []
                for row, score, person in zip(rows, scores, people_of, strict=True):
                    best, first = np.unique(person, return_index=True)
                    order = np.sort(first)[:k]
                    similarities[row, : len(order)] = score[order]
                    people[row, : len(order)] = person[order]
                    if len(best) < min(k, self._people):
                        short.append(row)
                if depth == len(self._index):
                    break
                rows = np.array(short, np.int64)
                depth = min(len(self._index), 4 * depth)
        names = tuple(
            tuple(None if person < 0 else self._names[int(person)] for person in row)
            for row in people
        )
        return Matches(similarities, people, names)

    def _photos(
        self, unit: Floats, depth: int, cohort: Cohort | None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Similarities and people of the ``depth`` nearest photos (by cosine), best first."""
        index = self._index
        if index is None:
            raise ValueError("an empty index has no photos")
        with self._lock:
            scores, ids = index.search(unit, depth)
        rows = np.searchsorted(self._photo_ids, ids)
        if cohort is not None:
            probe = cohort.means(unit)[:, None]
            scores = cohort.normalised(scores, probe, self._template_means(rows, cohort))
            order = np.argsort(-scores, axis=1, kind="stable")
            scores = np.take_along_axis(scores, order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
        return scores, self._person_ids[rows]

    def _template_means(self, rows: NDArray[np.int64], cohort: Cohort) -> Floats:
        """Mean similarity of these templates to the cohort; each is computed once."""
        means = self._means.get(cohort.card.sha256)
        if means is None:
            means = self._means.setdefault(
                cohort.card.sha256, np.full(len(self._unit), np.nan, np.float32)
            )
        wanted = np.unique(rows)
        missing = wanted[np.isnan(means[wanted])]
        if len(missing):
            # Two threads may compute the same ones: they get the same numbers.
            means[missing] = cohort.means(self._unit[missing])
        found: Floats = means[rows]
        return found


def _normalised(mu: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows of length 1, and which of them have a direction at all."""
    mu = np.ascontiguousarray(mu, np.float32)
    length = np.linalg.norm(mu, axis=1, keepdims=True)
    usable = np.isfinite(length[:, 0]) & (length[:, 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = (mu / length).astype(np.float32, copy=False)
    return unit, usable
