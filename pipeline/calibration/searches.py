"""Searches of a gallery whose right answer is known: its own photos, and strangers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats
from ..gallery.index import normalised
from ..gallery.templates import Templates
from ..recognition.cohort import Cohort, leave_one_out

# Photos of the gallery that are searched at the most, drawn at random.
OWN_SEARCHES: Final = 5000
# Similarities that are held at once: 64 MB.
_BLOCK: Final = 2**24

Ids = NDArray[np.int64]
NOBODY: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Searches:
    """N searches.

    Attributes:
        searched: N, whose face it is: a person's id, or below 0 for strangers, each another.
        best: N, similarity of the best person; −inf where there is none.
        person: N, the best person's id.
        second: N, similarity of the next person; −inf where there is none.
    """

    searched: Ids
    best: Floats
    person: Ids
    second: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """N, True where the best person is the one who was searched."""
        return np.asarray(self.person == self.searched, np.bool_)

    def __len__(self) -> int:
        return len(self.best)

    def rows(self, chosen: Any) -> Searches:
        """Some of the searches."""
        parts = (self.searched, self.best, self.person, self.second)
        return Searches(*(part[chosen] for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class GallerySearches:
    """What a gallery answers.

    Attributes:
        people: how many have photos. photos: how many are searched among.
        strangers: searches for each member of a cohort.
        others: each photo, as if its person were not enrolled: the best other person.
        mated: each photo of a person who has another one, as if this one were not enrolled.
    """

    people: int
    photos: int
    strangers: Searches
    others: Searches
    mated: Searches


def search_gallery(
    templates: Templates, strangers: Cohort, cohort: Cohort | None, *, seed: int = 0
) -> GallerySearches:
    """Search a gallery for strangers and for its own people.

    Args:
        templates: of the gallery.
        strangers: who is in no gallery.
        cohort: normalises the similarities; None: plain cosines. Where it is ``strangers``, each
            member is compared with the others.
        seed: chooses the photos of a large gallery that are searched.
    """
    unit, usable = normalised(templates.mu)
    unit, people = unit[usable], templates.person_ids[usable]
    order = np.argsort(people, kind="stable")
    unit, people = unit[order], people[order]
    ids, first, count = np.unique(people, return_index=True, return_counts=True)
    gallery = _Gallery(unit, people, ids, first, None if cohort is None else cohort.means(unit))
    numbers = NOBODY - np.arange(len(strangers.vectors), dtype=np.int64)
    means = None
    if cohort is not None:
        same = cohort is strangers
        means = leave_one_out(cohort) if same else cohort.means(strangers.vectors)
    rng = np.random.default_rng(seed)
    own = np.sort(rng.permutation(len(unit))[:OWN_SEARCHES])
    several = own[np.isin(people[own], ids[count > 1])]

    def without_person(rows: Ids, scores: Floats) -> None:
        scores[people[own[rows]][:, None] == people[None]] = -np.inf

    def without_photo(rows: Ids, scores: Floats) -> None:
        scores[np.arange(len(rows)), several[rows]] = -np.inf

    own_means = None if gallery.means is None else gallery.means
    return GallerySearches(
        people=len(ids),
        photos=len(unit),
        strangers=gallery.search(strangers.vectors, means, numbers, cohort),
        others=gallery.search(
            unit[own], None if own_means is None else own_means[own], people[own], cohort,
            without_person,
        ),
        mated=gallery.search(
            unit[several], None if own_means is None else own_means[several], people[several],
            cohort, without_photo,
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Gallery:
    """Photos in the order of their people; ``first`` is the first photo of each of ``ids``."""

    unit: Floats
    people: Ids
    ids: Ids
    first: Ids
    means: Floats | None

    def search(
        self,
        probes: Floats,
        means: Floats | None,
        searched: Ids,
        cohort: Cohort | None,
        hide: Callable[[Ids, Floats], None] = lambda rows, scores: None,
    ) -> Searches:
        """The best and the next person of each probe; ``hide`` sets similarities to −inf."""
        count = len(probes)
        best, second = (np.full(count, -np.inf, np.float32) for _ in range(2))
        person = np.full(count, NOBODY, np.int64)
        step = max(1, _BLOCK // max(1, len(self.unit)))
        for start in range(0, count if len(self.ids) else 0, step):
            rows = np.arange(start, min(start + step, count))
            scores = np.asarray(probes[rows] @ self.unit.T, np.float32)
            if cohort is not None and means is not None and self.means is not None:
                scores = cohort.normalised(scores, means[rows][:, None], self.means[None])
            hide(rows, scores)
            by_person = np.maximum.reduceat(scores, self.first, axis=1)
            column = by_person.argmax(axis=1)
            best[rows] = by_person[np.arange(len(rows)), column]
            person[rows] = self.ids[column]
            by_person[np.arange(len(rows)), column] = -np.inf
            second[rows] = by_person.max(axis=1)
        return Searches(searched, best, person, second)
