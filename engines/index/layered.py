"""An index that takes additions and removals while it is searched, over cores that take neither.

Most vectors lie in the *bulk*, searched by a core that is built once: on a GPU, as a graph, or
exactly on the CPU. New vectors go to the *tail*, which is searched exactly on the CPU; when the
tail is too long, a new bulk is built of both. Removed vectors are marked as deleted until their
share is too large; then the bulk is rebuilt without them. Readers never wait: they search the
state they began with while a writer prepares the next one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .checks import check_dim, check_ids, check_k, check_new, check_vectors
from .cores import Build, Vectors, flat_build
from .segment import Ids, Segment

_FIRST_CAPACITY = 256


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """When the bulk is rebuilt.

    Attributes:
        tail: least length of the tail; below it, searching the tail on one thread takes less
            than 0.3 ms (16384 × 128, measured).
        tail_share: also a least share of the bulk, so that n additions cost O(n) copies in all;
            None never merges the tail (for a core that takes minutes to build).
        deleted_share: of the bulk; at a quarter, a third more vectors are searched than needed.
            None never rebuilds it.
    """

    tail: int = 16384
    tail_share: float | None = 1.0
    deleted_share: float | None = 0.25

    def tail_full(self, tail: int, bulk: int) -> bool:
        """True when the tail is to be merged into the bulk."""
        return self.tail_share is not None and tail > max(self.tail, self.tail_share * bulk)

    def needs_compaction(self, bulk: Segment) -> bool:
        """True when too much of the bulk was removed."""
        if self.deleted_share is None or bulk.deleted_count == 0:
            return False
        return bulk.live == 0 or bulk.deleted_count > max(self.deleted_share * len(bulk.ids), 64)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """A reader's view; never changed."""

    bulk: Segment
    tail: Segment


class LayeredIndex:
    """See ``Index``. Readers and writers may be in several threads; readers never wait.

    Args:
        dim: length of the vectors.
        build: makes the core of a bulk; None searches it exactly on the CPU.
        policy: when the bulk is built anew.
        kind: what ``build`` makes: ``flat``, ``hnsw``, ``ivfpq``, ``gpu`` or ``numpy``.
        device: that searches the bulk.
        reason: why this kind, in words.
    """

    def __init__(
        self,
        dim: int,
        *,
        build: Build | None = None,
        policy: CompactionPolicy = CompactionPolicy(),
        kind: str = "flat",
        device: str = "CPU",
        reason: str = "",
    ) -> None:
        check_dim(dim)
        self._dim = dim
        self._exact_build = flat_build()
        self._build = build or self._exact_build
        self._policy = policy
        self._kind, self._device, self._reason = kind, device, reason
        self._lock = threading.Lock()  # of writers
        self._buffer = _AppendBuffer(dim)
        nothing = self._exact_segment(np.zeros(0, np.int64), np.zeros((0, dim), np.float32))
        self._state = _State(nothing, nothing)

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._dim

    @property
    def kind(self) -> str:
        """How the bulk is searched."""
        return self._kind

    @property
    def device(self) -> str:
        """Where the bulk is searched."""
        return self._device

    @property
    def reason(self) -> str:
        """Why this kind, in words."""
        return self._reason

    def __len__(self) -> int:
        state = self._state
        return state.bulk.live + state.tail.live

    def adopt(self, ids: Ids, vectors: Vectors) -> None:
        """Make these the bulk of an empty index without copying them.

        Args:
            ids: N, none twice and none negative.
            vectors: N×D, finite; must not change afterwards.

        Raises:
            ValueError: the index is not empty, or the shapes do not fit.
        """
        if len(ids) != len(vectors) or vectors.shape[1:] != (self._dim,):
            raise ValueError(f"{len(ids)} ids do not go with vectors of shape {vectors.shape}")
        with self._lock:
            if len(self):
                raise ValueError("only an empty index can adopt vectors")
            self._state = replace(self._state, bulk=self._bulk(ids, vectors))

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors N×D with ids N; see ``Index.add``."""
        with self._lock:
            state = self._state
            ids, vectors = check_new(ids, vectors, dim=self._dim, known=self._known)
            if len(ids) == 0:
                return
            tail = state.tail
            if self._policy.tail_full(tail.live + len(ids), state.bulk.live):
                parts = (*zip(state.bulk.remaining(), tail.remaining(), strict=True),)
                self._renew(np.concatenate([*parts[0], ids]), np.concatenate([*parts[1], vectors]))
                return
            all_ids, all_vectors = self._buffer.append(ids, vectors)
            grown = self._exact_segment(all_ids, all_vectors)
            if tail.deleted_count:
                grown = grown.without(np.flatnonzero(tail.deleted))
            self._state = replace(state, tail=grown)

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove these ids; returns how many were there."""
        ids = np.unique(check_ids(ids))
        with self._lock:
            state, before = self._state, len(self)
            for name in ("bulk", "tail"):
                segment: Segment = getattr(state, name)
                at = segment.positions(ids)
                at = at[at >= 0]
                if len(at):
                    state = replace(state, **{name: segment.without(at)})
            self._state = state
            removed = before - len(self)
            if self._policy.needs_compaction(state.bulk):
                self._state = replace(state, bulk=self._bulk(*state.bulk.remaining()))
            if self._policy.needs_compaction(state.tail):
                self._buffer = _AppendBuffer(self._dim)
                rest = self._buffer.append(*state.tail.remaining())
                self._state = replace(self._state, tail=self._exact_segment(*rest))
            return removed

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest of each query; see ``Index.search``.

        The similarities are exact whatever searches the bulk.

        Raises:
            InferenceError: the core failed.
        """
        check_k(k)
        queries = check_vectors("queries", queries, self._dim)
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
        found = np.zeros((len(ids), self._dim), np.float32)
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
        self._buffer = _AppendBuffer(self._dim)
        self._state = _State(bulk, self._exact_segment(ids[:0], vectors[:0]))

    def _bulk(self, ids: Ids, vectors: Vectors) -> Segment:
        if len(ids) == 0:
            return self._exact_segment(ids, vectors)
        return Segment.of(ids, vectors, self._build(vectors), self._exact_build)

    def _exact_segment(self, ids: Ids, vectors: Vectors) -> Segment:
        return Segment.of(ids, vectors, self._exact_build(vectors), self._exact_build)


class _AppendBuffer:
    """Ids and vectors that grow at the end: O(1) a row on average, for one writer at a time.

    Arrays returned earlier never change.
    """

    def __init__(self, dim: int) -> None:
        self._ids = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, dim), np.float32)
        self._count = 0

    def append(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Append rows; returns views of all ids N and vectors N×D so far."""
        start, self._count = self._count, self._count + len(ids)
        if self._count > len(self._ids):
            capacity = max(_FIRST_CAPACITY, 2 * self._count)
            old_ids, old_vectors = self._ids[:start], self._vectors[:start]
            self._ids = np.zeros(capacity, np.int64)
            self._vectors = np.zeros((capacity, self._vectors.shape[1]), np.float32)
            self._ids[:start], self._vectors[:start] = old_ids, old_vectors
        # Beyond the rows returned before.
        self._ids[start : self._count] = ids
        self._vectors[start : self._count] = vectors
        return self._ids[: self._count], self._vectors[: self._count]
