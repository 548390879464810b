"""Whether a new photo fits the person it is added to, before it is stored.

The rules are those of recognition: a photo that a search of the gallery would call somebody else
*resembles* that person; one that a comparison of two photos would not call the same person as any
of the person's photos is an *outlier*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..core.types import Floats, Matches
from ..identity.decision import Thresholds
from ..recognition.cohort import Cohort
from ..storage.names import name_key
from .index import normalised
from .records import PhotoDoubt

# Of a photo the nearest people are looked at, the person among them.
NEAREST = 6


class GuardedGallery(Protocol):
    """What the guard needs of a ``Gallery``."""

    def search(self, mu: Floats, k: int = 5, *, cohort: Cohort | None = None) -> Matches: ...

    def templates(self) -> int: ...

    def templates_of(self, name: str) -> Floats: ...


@dataclass(slots=True, eq=False)
class PhotoGuard:
    """Judges photos that are added to one gallery.

    Attributes:
        gallery: they are added to.
        thresholds: when two photos are similar.
        cohort: the similarities are normalised against it; None: cosines.
    """

    gallery: GuardedGallery
    thresholds: Thresholds
    cohort: Cohort | None = None
    _name: str = field(default="", init=False)
    _own: Floats | None = field(default=None, init=False)

    def begin(self, name: str) -> None:
        """Judge photos of this person from now on."""
        self._name, self._own = name, None

    def accept(self, mu: Floats) -> None:
        """A photo (D) of the person was stored: the next ones are compared with it, too."""
        own = self._theirs()
        unit, _ = normalised(mu[None])
        self._own = unit if not len(own) else np.concatenate([own, unit])

    def compare(self, mu: Floats) -> tuple[Floats, Floats, list[str | None]]:
        """Of N photos (N×D): the similarity to the nearest photo of the person (−inf without any),
        to the nearest other person (−inf without any), and who that is."""
        unit, _ = normalised(mu)
        found = self.gallery.search(unit, NEAREST, cohort=self.cohort)
        best, others = nearest_others(found, self._name)
        return self.similarities(unit, self._theirs()).max(axis=1, initial=-np.inf), best, others

    def judge(self, mu: Floats) -> PhotoDoubt | None:
        """What may be wrong with a photo (D); None where nothing is."""
        (own,), (best,), (other,) = self.compare(mu[None])
        known = float(own) if np.isfinite(own) else None
        least = self.thresholds.among(self.gallery.templates()).similarity
        if other is not None and best >= least and best > own:
            return PhotoDoubt("resembles", self._name, known, other, float(best))
        if known is not None and known < self.thresholds.similarity:
            return PhotoDoubt("outlier", self._name, known)
        return None

    def similarities(self, unit: Floats, others: Floats) -> Floats:
        """N×M similarities of embeddings of length 1."""
        return similarities_of(unit, others, self.cohort)

    def _theirs(self) -> Floats:
        if self._own is None:
            self._own = normalised(self.gallery.templates_of(self._name))[0]
        return self._own


def nearest_others(found: Matches, name: str) -> tuple[Floats, list[str | None]]:
    """Of each face the similarity to the nearest person of another name (−inf without any), and
    that name."""
    key = name_key(name)
    others: list[str | None] = []
    best = np.full(len(found.names), -np.inf, np.float32)
    for row, names in enumerate(found.names):
        there = [
            (float(score), one)
            for score, one in zip(found.similarities[row], names, strict=True)
            if one is not None and name_key(one) != key
        ]
        others.append(there[0][1] if there else None)
        best[row] = there[0][0] if there else -np.inf
    return best, others


def similarities_of(unit: Floats, others: Floats, cohort: Cohort | None) -> Floats:
    """N×M similarities of embeddings of length 1."""
    if not len(others):  # of an empty gallery no length is known
        return np.zeros((len(unit), 0), np.float32)
    cosines = np.asarray(unit @ others.T, np.float32)
    if cohort is None:
        return cosines
    return cohort.normalised(cosines, cohort.means(unit)[:, None], cohort.means(others)[None])
