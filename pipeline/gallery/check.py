"""Looks for people who are enrolled under two names, and for photos that are not of their person.

Similar means here what it means in a search of this gallery: from ``Thresholds.among`` on, a photo
of the one would be given the name of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats, Image, Matches
from ..identity.decision import Thresholds
from ..recognition.cohort import Cohort
from ..recognition.uncertainty import sigma
from .changes import Snapshot
from .findings import (
    ENOUGH_PHOTOS,
    MAYBE_SAME,
    TOO_SIMILAR,
    DoubtfulPhoto,
    Finding,
    GalleryCheck,
    Problem,
    SamePerson,
    Twins,
    finding_of_photo,
    same_pictures,
)
from .groups import groups_of
from .index import normalised
from .records import POOR_SIGMA, Person

# Of each photo the nearest people are looked at, itself among them.
NEAREST = 6
# Photos searched or compared at once.
_ROWS = 1024

Rows = NDArray[np.int64]


class CheckedGallery(Protocol):
    """What the check needs of a ``Gallery``."""

    def snapshot(self, *, columns: Literal["mu", "both"] = "mu") -> Snapshot: ...

    def search(self, mu: Floats, k: int = 5, *, cohort: Cohort | None = None) -> Matches: ...

    def person(self, name: str) -> Person: ...

    def photo_paths(self, photo_ids: Collection[int]) -> dict[int, str]: ...

    def crop(self, photo: int) -> Image: ...


def check_gallery(
    gallery: CheckedGallery,
    thresholds: Thresholds,
    *,
    cohort: Cohort | None = None,
    people: Collection[str] | None = None,
) -> GalleryCheck:
    """See ``Gallery.check``."""
    snapshot = gallery.snapshot(columns="both")
    check = _Check(gallery, snapshot, thresholds, cohort)
    ids = set(snapshot.names) if people is None else check.ids_of(people)
    rows = check.rows_of(ids)
    same, doubtful = check.compare_people(check.resembling(rows))
    own = set(check.person_ids[rows].tolist())
    for person in sorted(ids):
        check.compare_photos(person, doubtful)
    same.sort(key=lambda pair: -pair.similarity)
    pairs = [check.finding_of_pair(pair) for pair in same]
    hints = [*check.hints, *check.duplicates()]
    shown = [*(one.photo_id for one in doubtful.values())]
    shown += [one.photo_id for one in (*pairs, *hints) if one.photo_id is not None]
    paths = gallery.photo_paths(shown)
    photos = [replace(photo, path=paths.get(photo.photo_id, "")) for photo in doubtful.values()]
    photos.sort(key=lambda photo: (photo.problem, -(photo.other_similarity or 0)))
    findings = [*pairs, *map(finding_of_photo, photos), *hints]
    return GalleryCheck(
        len(own),
        len(rows),
        check.threshold,
        tuple(same),
        tuple(photos),
        tuple(replace(one, path=paths.get(one.photo_id or 0)) for one in findings),
    )


class _Check:
    """The photos of a gallery by row of its templates."""

    def __init__(
        self,
        gallery: CheckedGallery,
        snapshot: Snapshot,
        thresholds: Thresholds,
        cohort: Cohort | None,
    ) -> None:
        templates = snapshot.templates
        self._gallery, self._cohort = gallery, cohort
        self._names = snapshot.names
        self._photo_ids, self.person_ids = templates.photo_ids, templates.person_ids
        self._unit, _ = normalised(templates.mu)
        self._sigma = sigma(templates.logvar) if len(templates.logvar) else np.zeros(0, np.float32)
        self._means = np.full(len(self._unit), np.nan, np.float32)
        self.threshold = thresholds.among(len(self._unit)).similarity
        self._own_threshold = thresholds.similarity
        self._by_person = np.argsort(self.person_ids, kind="stable")
        self._sorted_people = self.person_ids[self._by_person]
        self.hints: list[Finding] = []
        self._twins: list[Twins] = []
        self._ids: dict[str, int] = {}

    def ids_of(self, names: Collection[str]) -> set[int]:
        """The people with these names; raises PersonNotFound."""
        ids = {name: person for person, name in self._names.items()}
        if any(name not in ids for name in names):  # another spelling
            return {self._gallery.person(name).id for name in names}
        return {ids[name] for name in names}

    def rows_of(self, people: Collection[int]) -> Rows:
        """The photos of these people, oldest first."""
        return np.flatnonzero(np.isin(self.person_ids, np.array(sorted(people), np.int64)))

    def resembling(self, rows: Rows) -> dict[tuple[int, int], None]:
        """Pairs of people, the smaller id first, of whom a photo in ``rows`` is similar enough."""
        pairs: dict[tuple[int, int], None] = {}
        for some in _chunks(rows):
            found = self._gallery.search(self._unit[some], NEAREST, cohort=self._cohort)
            own = self.person_ids[some][:, None]
            near = (found.similarities >= self.threshold) & (found.person_ids != own)
            for row, column in np.argwhere(near & (found.person_ids >= 0)).tolist():
                one, other = int(own[row, 0]), int(found.person_ids[row, column])
                pairs[min(one, other), max(one, other)] = None
        return pairs

    def compare_people(
        self, pairs: Collection[tuple[int, int]]
    ) -> tuple[list[SamePerson], dict[int, DoubtfulPhoto]]:
        """The pairs that may be one person, and photos (by row) that resemble another more."""
        same: list[SamePerson] = []
        doubtful: dict[int, DoubtfulPhoto] = {}
        for one, other in pairs:
            rows = self._photos(one), self._photos(other)
            if not (len(rows[0]) and len(rows[1])):
                continue  # removed since the search
            best = self._best(rows[0], rows[1]), self._best(rows[1], rows[0])
            self._note_twins(rows[0], rows[1], best[0])
            shares = [float((scores >= self.threshold).mean()) for scores in best]
            if min(shares) > 0.5:
                names = self._names[one], self._names[other]
                similarity = float(best[0].max())
                same.append(SamePerson(names, (len(rows[0]), len(rows[1])), similarity))
                continue
            # Where few photos resemble the other person, these are the wrong ones; the photos of
            # the other person that only resemble them are not.
            first = int(np.argmin(shares))
            wrong = self._note_misplaced(rows[first], rows[1 - first], doubtful)
            rest = rows[first][~np.isin(rows[first], wrong)]
            also = self._note_misplaced(rows[1 - first], rest, doubtful)
            if not (len(wrong) or len(also)):
                self.hints.append(self._look_alike(rows[0], self._names[other], best[0]))
        return same, doubtful

    def _note_misplaced(self, rows: Rows, others: Rows, doubtful: dict[int, DoubtfulPhoto]) -> Rows:
        """Note and return the photos that resemble another person's more than their own."""
        if len(rows) < 2 or not len(others):
            return rows[:0]
        scores, own = self._best(rows, others), self._best(rows, rows)
        wrong = (scores >= self.threshold) & (scores > own)
        stranger = self._names[int(self.person_ids[others[0]])]
        for row, score, similarity in zip(rows[wrong], scores[wrong], own[wrong], strict=True):
            known = doubtful.get(int(row))
            if known is None or score > (known.other_similarity or 0):
                doubtful[int(row)] = replace(
                    self._doubtful(int(row), "other_person", float(similarity)),
                    other=stranger,
                    other_similarity=float(score),
                )
        return rows[wrong]

    def compare_photos(self, person: int, doubtful: dict[int, DoubtfulPhoto]) -> None:
        """Note the photos of a person that are uncertain, or unlike the others."""
        rows = self._photos(person)
        if len(rows) < ENOUGH_PHOTOS:
            few = Finding("few_photos", self._names[person], problem=False, mending="add")
            photo = int(self._photo_ids[rows[0]]) if len(rows) else None
            self.hints.append(replace(few, photos=len(rows), photo_id=photo))
        similarity = np.full(len(rows), -np.inf, np.float32)
        lowest = np.inf
        near = np.eye(len(rows), dtype=np.bool_)
        for at in _chunks(np.arange(len(rows))):
            scores = self._similarities(rows[at], rows)
            scores[np.arange(len(at)), at] = -np.inf
            near[at] |= scores >= self._own_threshold
            similarity[at] = scores.max(axis=1, initial=-np.inf)
            for row in np.flatnonzero(similarity[at] >= MAYBE_SAME).tolist():
                nearest = int(rows[int(scores[row].argmax())])
                self._twins.append(Twins(int(rows[at[row]]), nearest, float(similarity[at[row]])))
            scores[np.arange(len(at)), at] = np.inf
            lowest = min(lowest, float(scores.min(initial=np.inf)))
        if len(rows) > 2 and lowest >= TOO_SIMILAR:
            alike = Finding("similar_photos", self._names[person], problem=False, mending="add")
            photo = int(self._photo_ids[rows[0]])
            self.hints.append(replace(alike, photos=len(rows), photo_id=photo, similarity=lowest))
        unlike = groups_of(near | near.T) > 0
        for row, apart, score in zip(rows.tolist(), unlike, similarity.tolist(), strict=True):
            poor = self._sigma[row] >= POOR_SIGMA
            if row not in doubtful and (apart or poor):
                own = score if np.isfinite(score) else None
                doubtful[row] = self._doubtful(row, "uncertain" if poor else "unlike", own)

    def duplicates(self) -> list[Finding]:
        """Photos that are one picture; call it last."""
        pairs = same_pictures(
            self._twins, lambda row: self._gallery.crop(int(self._photo_ids[row]))
        )
        return [
            Finding(
                "duplicate",
                self._names[int(self.person_ids[pair.other])],
                problem=self.person_ids[pair.row] != self.person_ids[pair.other],
                mending="set-aside",
                photo_id=int(self._photo_ids[pair.other]),
                other=self._names[int(self.person_ids[pair.row])],
                other_photo_id=int(self._photo_ids[pair.row]),
                other_similarity=pair.similarity,
            )
            for pair in pairs
        ]

    def finding_of_pair(self, pair: SamePerson) -> Finding:
        """Two people who are probably one; with a photo of the second."""
        if not self._ids:
            self._ids = {name: person for person, name in self._names.items()}
        rows = [self._photos(self._ids[name]) for name in reversed(pair.names)]
        found = self._look_alike(rows[0], pair.names[0], self._best(rows[0], rows[1]))
        return replace(found, problem=True, same_person=True)

    def _look_alike(self, rows: Rows, other: str, best: Floats) -> Finding:
        """A person with these photos resembles another one, this much."""
        row = int(rows[int(best.argmax())])
        return Finding(
            "look_alike",
            self._names[int(self.person_ids[row])],
            problem=False,
            mending="merge",
            photo_id=int(self._photo_ids[row]),
            other=other,
            other_similarity=float(best.max()),
            same_person=False,
            photos=len(rows),
        )

    def _note_twins(self, rows: Rows, others: Rows, best: Floats) -> None:
        """Note the photos of two people that may be one picture."""
        for at in np.flatnonzero(best >= MAYBE_SAME).tolist():
            scores = self._similarities(rows[at : at + 1], others)[0]
            nearest = int(others[int(scores.argmax())])
            self._twins.append(Twins(int(rows[at]), nearest, float(best[at])))

    def _doubtful(self, row: int, problem: Problem, similarity: float | None) -> DoubtfulPhoto:
        name, photo = self._names[int(self.person_ids[row])], int(self._photo_ids[row])
        return DoubtfulPhoto(name, photo, "", problem, similarity, float(self._sigma[row]))

    def _photos(self, person: int) -> Rows:
        start, end = np.searchsorted(self._sorted_people, [person, person + 1])
        return self._by_person[start:end]

    def _best(self, rows: Rows, others: Rows) -> Floats:
        """Similarity of each row to the nearest of the others but itself; −inf where none is."""
        best = np.full(len(rows), -np.inf, np.float32)
        for at in _chunks(np.arange(len(rows))):
            scores = self._similarities(rows[at], others)
            scores[rows[at][:, None] == others[None]] = -np.inf
            best[at] = scores.max(axis=1, initial=-np.inf)
        return best

    def _similarities(self, rows: Rows, others: Rows) -> Floats:
        cosines = np.asarray(self._unit[rows] @ self._unit[others].T, np.float32)
        if self._cohort is None:
            return cosines
        probe, template = self._mean(rows)[:, None], self._mean(others)
        return self._cohort.normalised(cosines, probe, template)

    def _mean(self, rows: Rows) -> Floats:
        assert self._cohort is not None
        missing = rows[np.isnan(self._means[rows])]
        if len(missing):
            self._means[missing] = self._cohort.means(self._unit[missing])
        found: Floats = self._means[rows]
        return found


def _chunks(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]
