"""A segment of an index: vectors, the core that searches them, and which of them are deleted.

A segment is immutable; ``without`` returns a new one that shares the vectors. So readers use the
segment they have while a writer prepares the next one.
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


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """N vectors with their ids.

    Attributes:
        ids: N int64; of repeated ids all but the last were removed.
        vectors: N×D float32.
        core: searches them.
        exact_build: makes a core that searches them exactly, for searches beyond ``core``.
        deleted: N; True where the vector was removed.
        deleted_count: how many were removed.
    """

    ids: Ids
    vectors: Vectors
    core: Core
    exact_build: Callable[[Vectors], Core]
    deleted: Mask
    deleted_count: int = 0
    _order: Ids | None = field(default=None)

    @classmethod
    def of(
        cls, ids: Ids, vectors: Vectors, core: Core, exact_build: Callable[[Vectors], Core]
    ) -> Segment:
        """A segment with nothing removed. Nothing is copied."""
        ascending = bool((ids[1:] > ids[:-1]).all())
        order = None if ascending else np.argsort(ids, kind="stable")
        return cls(ids, vectors, core, exact_build, np.zeros(len(ids), np.bool_), 0, order)

    @property
    def live(self) -> int:
        """How many vectors are not removed."""
        return len(self.ids) - self.deleted_count

    def positions(self, ids: Ids) -> Ids:
        """The positions of these ids; −1 where absent or removed."""
        if len(self.ids) == 0:
            return np.full(len(ids), -1, np.int64)
        # Of an id that was removed and added again, the last one counts.
        at = np.searchsorted(self.ids, ids, side="right", sorter=self._order)
        at = np.maximum(at - 1, 0)
        if self._order is not None:
            at = self._order[at]
        found: Ids = np.where((self.ids[at] == ids) & ~self.deleted[at], at, -1)
        return found

    def without(self, positions: Ids) -> Segment:
        """The segment with these removed as well."""
        deleted = self.deleted.copy()
        deleted[positions] = True
        return replace(self, deleted=deleted, deleted_count=int(np.count_nonzero(deleted)))

    def remaining(self) -> tuple[Ids, Vectors]:
        """Copies of the ids and vectors that are not removed."""
        keep = ~self.deleted
        return self.ids[keep], self.vectors[keep]

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The k nearest that are not removed, with exact similarities.

        The core still finds removed vectors, so the search is repeated with a larger depth until k
        others are found.

        Returns:
            Similarities and ids M×k; −inf and −1 where there are fewer.
        """
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        ids = np.full((len(queries), k), -1, np.int64)
        wanted = min(k, self.live)
        rows = np.arange(len(queries))
        depth = wanted if self.core.exact else max(SPARE_TIMES * wanted, wanted + SPARE)
        depth += min(self.deleted_count, max(wanted, SPARE))
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
        """The core, or an exact one where the depth is too large for it or two tries failed."""
        max_k = self.core.max_k
        if (max_k is None or depth <= max_k) and (self.core.exact or tries <= 2):
            return self.core
        return self.exact_build(self.vectors)

    def _live(self, core: Core, queries: Vectors, depth: int) -> tuple[Vectors, Positions]:
        """The core's results, best first, with −inf for removed vectors."""
        scores, at = core.search(queries, depth)
        if not core.exact:
            scores = np.einsum("md,mkd->mk", queries, self.vectors[np.maximum(at, 0)])
        if self.deleted_count or not core.exact:
            scores = np.where((at < 0) | self.deleted[at], np.float32(-np.inf), scores)
            order = np.argsort(-scores, axis=1, kind="stable")
            scores = np.take_along_axis(scores, order, axis=1)
            at = np.take_along_axis(at, order, axis=1)
        return scores, at
