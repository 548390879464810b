"""A part of an index: some vectors, the core that searches them, and which of them are removed.

Parts are immutable; ``without`` gives a new part that shares the vectors. So readers keep their
part while a writer makes the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .cores import Core, Positions, Vectors

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]

# So many more neighbours than wanted are scored again exactly: a core that rounds may have the
# true order wrong among near equals. At least 32, else three times as many as wanted.
SPARE = 32
SPARE_TIMES = 4

_FIRST = 256


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """N vectors with their ids.

    Attributes:
        ids: N int64; of duplicates all but the last were removed.
        vectors: N×D float32.
        core: searches them.
        exactly: makes a core that searches them exactly, for what ``core`` cannot be asked for.
        dead: N; True where the vector was removed.
        gone: how many were removed.
    """

    ids: Ids
    vectors: Vectors
    core: Core
    exactly: Callable[[Vectors], Core]
    dead: Mask
    gone: int = 0
    _order: Ids | None = field(default=None)

    @classmethod
    def of(cls, ids: Ids, vectors: Vectors, core: Core, exactly: Callable[[Vectors], Core]) -> Part:
        """A part with nothing removed. Nothing is copied."""
        ascending = bool((ids[1:] > ids[:-1]).all())
        order = None if ascending else np.argsort(ids, kind="stable")
        return cls(ids, vectors, core, exactly, np.zeros(len(ids), np.bool_), 0, order)

    @property
    def live(self) -> int:
        """How many vectors are not removed."""
        return len(self.ids) - self.gone

    def positions(self, ids: Ids) -> Ids:
        """Where these ids are; −1 for those that are not here or were removed."""
        if len(self.ids) == 0:
            return np.full(len(ids), -1, np.int64)
        # Of an id that was removed and added again, the last one counts.
        at = np.searchsorted(self.ids, ids, side="right", sorter=self._order)
        at = np.maximum(at - 1, 0)
        if self._order is not None:
            at = self._order[at]
        found: Ids = np.where((self.ids[at] == ids) & ~self.dead[at], at, -1)
        return found

    def without(self, positions: Ids) -> Part:
        """The part with these removed as well."""
        dead = self.dead.copy()
        dead[positions] = True
        return replace(self, dead=dead, gone=int(np.count_nonzero(dead)))

    def remaining(self) -> tuple[Ids, Vectors]:
        """Copies of the ids and vectors that are not removed."""
        keep = ~self.dead
        return self.ids[keep], self.vectors[keep]

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The k nearest that are not removed, with exact similarities.

        Removed vectors are still found by the core, so it is asked for more until k others are
        there. What is among the first m of all, less the removed, is the first of the others.

        Returns:
            Similarities and ids M×k; −inf and −1 where there are fewer.
        """
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        wanted = min(k, self.live)
        rows = np.arange(len(queries))
        depth = wanted if self.core.exact else max(SPARE_TIMES * wanted, wanted + SPARE)
        depth += min(self.gone, max(wanted, SPARE))
        tries = 0
        while wanted and len(rows):
            depth = min(depth, len(self.ids))
            tries += 1
            scores, at = self._live(self._core_for(depth, tries), queries[rows], depth)
            enough = np.isfinite(scores[:, wanted - 1])
            done = rows[enough]
            similarities[done, :wanted] = scores[enough, :wanted]
            ids[done, :wanted] = self.ids[at[enough, :wanted]]
            rows = rows[~enough]
            depth *= 4
        return similarities, ids

    def _core_for(self, depth: int, tries: int) -> Core:
        """The core, or an exact one for what it cannot find: too many, or at the second try."""
        deepest = self.core.deepest
        if (deepest is None or depth <= deepest) and (self.core.exact or tries <= 2):
            return self.core
        return self.exactly(self.vectors)

    def _live(self, core: Core, queries: Vectors, depth: int) -> tuple[Vectors, Positions]:
        """What the core finds, best first, with −inf for what was removed."""
        scores, at = core.search(queries, depth)
        if not core.exact:
            scores = np.einsum("md,mkd->mk", queries, self.vectors[np.maximum(at, 0)])
        if self.gone or not core.exact:
            scores = np.where((at < 0) | self.dead[at], np.float32(-np.inf), scores)
            order = np.argsort(-scores, axis=1, kind="stable")
            scores = np.take_along_axis(scores, order, axis=1)
            at = np.take_along_axis(at, order, axis=1)
        return scores, at


class AppendBuffer:
    """Ids and vectors in memory that grow at the end.

    Appending n rows costs O(n) on average; arrays returned earlier never change.

    For one writer at a time.
    """

    def __init__(self, dim: int) -> None:
        self._ids = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, dim), np.float32)
        self._count = 0

    def append(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Append rows; returns all ids N and vectors N×D so far, as views."""
        start, self._count = self._count, self._count + len(ids)
        if self._count > len(self._ids):
            room = max(_FIRST, 2 * self._count)
            kept, rows = self._ids[:start], self._vectors[:start]
            self._ids = np.zeros(room, np.int64)
            self._vectors = np.zeros((room, self._vectors.shape[1]), np.float32)
            self._ids[:start], self._vectors[:start] = kept, rows
        # Beyond the arrays returned before.
        self._ids[start : self._count] = ids
        self._vectors[start : self._count] = vectors
        return self._ids[: self._count], self._vectors[: self._count]
