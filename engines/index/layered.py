"""An index that takes additions and removals while it is searched, over cores that take neither.

Most vectors lie in the *bulk*, searched by a core that is made once: on a GPU, as a graph, or
plainly. New vectors go to the *tail*, which is searched exactly on the CPU; when the tail has
grown too long, a new bulk is made of both. Removed vectors stay where they are, marked, until
their share is too large: then the bulk is made again without them. Readers never wait: they work
on the state they began with while a writer makes the next one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .checks import (
    check_dim,
    check_ids,
    check_k,
    check_new,
    check_vectors,
)
from .cores import (
    Build,
    Core,
    Vectors,
    flat_build,
)
from .parts import AppendBuffer, Ids, Part


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When a new bulk is made.

    Attributes:
        tail: least length of the tail; below it, searching the tail on one thread takes less
            than 0.3 ms (16384 × 128, measured).
        tail_share: and least share of the bulk, so that n additions cost O(n) copies in all;
            None never takes the tail in (a core that takes minutes to build).
        dead_share: of the bulk; at a quarter, a third more vectors are searched than remain.
            None never makes it again.
    """

    tail: int = 16384
    tail_share: float | None = 1.0
    dead_share: float | None = 0.25

    def long(self, tail: int, bulk: int) -> bool:
        """True when so long a tail is to be taken in."""
        return self.tail_share is not None and tail > max(self.tail, self.tail_share * bulk)

    def worn(self, bulk: Part) -> bool:
        """True when too much of the bulk was removed."""
        if self.dead_share is None or bulk.gone == 0:
            return False
        return bulk.live == 0 or bulk.gone > max(self.dead_share * len(bulk.ids), 64)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What a reader works on; never changed."""

    bulk: Part
    tail: Part


class LayeredIndex:
    """Nearest neighbours by inner product over L2-normalised vectors, each with an id.

    Readers and writers may be in several threads; readers never wait.

    Args:
        dim: length of the vectors.
        build: makes the core of a bulk; None searches it exactly on the CPU.
        upkeep: when it is made again.
        kind: what ``build`` makes: ``flat``, ``hnsw``, ``ivfpq``, ``gpu`` or ``numpy``.
        device: that searches the bulk.
        reason: why this kind.
    """

    def __init__(
        self,
        dim: int,
        *,
        build: Build | None = None,
        upkeep: Upkeep = Upkeep(),
        kind: str = "flat",
        device: str = "CPU",
        reason: str = "",
    ) -> None:
        check_dim(dim)
        self.dim = dim
        self._exactly = flat_build()
        self._build = build or self._exactly
        self._upkeep = upkeep
        self.kind, self.device, self.reason = kind, device, reason
        self._lock = threading.Lock()  # of writers
        self._buffer = AppendBuffer(dim)
        nothing = self._exact_part(np.zeros(0, np.int64), np.zeros((0, dim), np.float32))
        self._state = _State(nothing, nothing)

    def __len__(self) -> int:
        state = self._state
        return state.bulk.live + state.tail.live

    def adopt(
        self,
        ids: Ids,
        vectors: Vectors,
        *,
        dead: NDArray[np.bool_] | None = None,
        core: Core | None = None,
    ) -> None:
        """Make these the bulk of an empty index without copying them.

        Args:
            ids: N, none twice and none negative.
            vectors: N×D, finite; may be memory-mapped. They stay as they are; one that becomes
                zero is as good as removed.
            dead: N; True for those that count as removed from the start.
            core: searches them; None makes it.

        Raises:
            ValueError: the index is not empty, or the shapes do not fit.
        """
        if len(ids) != len(vectors) or vectors.shape[1:] != (self.dim,):
            raise ValueError(f"{len(ids)} ids do not go with vectors of shape {vectors.shape}")
        with self._lock:
            if len(self):
                raise ValueError("only an empty index can adopt vectors")
            if core is None:
                bulk = self._bulk(ids, vectors)
            else:
                bulk = Part.of(ids, vectors, core, self._exactly)
            if dead is not None and dead.any():
                bulk = bulk.without(np.flatnonzero(dead))
            self._state = replace(self._state, bulk=bulk)

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors N×D with ids N.

        Raises:
            ValueError: shapes do not fit, an id is already there, or a vector is not finite.
        """
        with self._lock:
            state = self._state
            ids, vectors = check_new(ids, vectors, dim=self.dim, known=self._known)
            if len(ids) == 0:
                return
            tail = state.tail
            if self._upkeep.long(tail.live + len(ids), state.bulk.live):
                parts = (*zip(state.bulk.remaining(), tail.remaining(), strict=True),)
                self._renew(np.concatenate([*parts[0], ids]), np.concatenate([*parts[1], vectors]))
                return
            all_ids, all_vectors = self._buffer.append(ids, vectors)
            grown = self._exact_part(all_ids, all_vectors)
            if tail.gone:
                grown = grown.without(np.flatnonzero(tail.dead))
            self._state = replace(state, tail=grown)

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove these ids; returns how many were there."""
        ids = np.unique(check_ids(ids))
        with self._lock:
            state, before = self._state, len(self)
            for name in ("bulk", "tail"):
                part: Part = getattr(state, name)
                at = part.positions(ids)
                at = at[at >= 0]
                if len(at):
                    state = replace(state, **{name: part.without(at)})
            self._state = state
            removed = before - len(self)
            if self._upkeep.worn(state.bulk):
                self._state = replace(state, bulk=self._bulk(*state.bulk.remaining()))
            if self._upkeep.worn(state.tail):
                self._buffer = AppendBuffer(self.dim)
                rest = self._buffer.append(*state.tail.remaining())
                self._state = replace(self._state, tail=self._exact_part(*rest))
            return removed

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest of each query.

        Args:
            queries: M×D, L2-normalised.
            k: at least 1.

        Returns:
            Similarities M×k (descending) and ids M×k, −inf and −1 where there are fewer than k
            vectors. The similarities are exact for every kind.

        Raises:
            ValueError: the queries do not fit, or ``k`` is below 1.
            InferenceError: the core failed.
        """
        check_k(k)
        queries = check_vectors("queries", queries, self.dim)
        state = self._state
        found = [part.search(queries, k) for part in (state.bulk, state.tail) if part.live]
        if not found or len(queries) == 0:
            return (
                np.full((len(queries), k), -np.inf, np.float32),
                np.full((len(queries), k), -1, np.int64),
            )
        if len(found) == 1:
            return found[0]
        similarities, ids = (np.concatenate(both, axis=1) for both in zip(*found, strict=True))
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarities, best, axis=1), np.take_along_axis(ids, best, axis=1)

    def vectors(self, ids: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.bool_]]:
        """The vectors N×D of these ids, and which were there; the others are zero."""
        state = self._state
        found = np.zeros((len(ids), self.dim), np.float32)
        there = np.zeros(len(ids), np.bool_)
        for part in (state.bulk, state.tail):
            at = part.positions(ids)
            found[at >= 0] = part.vectors[at[at >= 0]]
            there |= at >= 0
        return found, there

    def _known(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these are in the index; the caller holds the lock."""
        state = self._state
        known: NDArray[np.bool_] = (state.bulk.positions(ids) >= 0) | (
            state.tail.positions(ids) >= 0
        )
        return known

    def _renew(self, ids: Ids, vectors: Vectors) -> None:
        """Make these the bulk, with an empty tail; the caller holds the lock."""
        bulk = self._bulk(ids, vectors)
        self._buffer = AppendBuffer(self.dim)
        self._state = _State(bulk, self._exact_part(ids[:0], vectors[:0]))

    def _bulk(self, ids: Ids, vectors: Vectors) -> Part:
        if len(ids) == 0:
            return self._exact_part(ids, vectors)
        return Part.of(ids, vectors, self._build(vectors), self._exactly)

    def _exact_part(self, ids: Ids, vectors: Vectors) -> Part:
        return Part.of(ids, vectors, self._exactly(vectors), self._exactly)
