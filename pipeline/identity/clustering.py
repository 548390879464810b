"""Unknown faces become people as they come: density on the graph of nearest neighbours.

A density-based clustering (after DBSCAN, Ester et al. 1996) with the support of shared neighbours
(Jarvis and Patrick, 1973): two clear faces that are similar enough are linked, and a link joins
groups only where a third face is linked to both ends. So one doubtful pair bridges nothing. What
remains alone goes to the group of its most similar clear face, and connects nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ..core.types import Floats

Ids = NDArray[np.int64]
Apart = Callable[[int, int], bool]
"""True for two groups that may not become one."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Pairs of faces that are similar enough, one of them new.

    Attributes:
        new: L, rows of new faces, 0..N−1.
        other: L, the other face: 0..N−1 a new one, N and more a stored one.
        similarity: L.
    """

    new: Ids
    other: Ids
    similarity: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Where new faces belong.

    Attributes:
        group: N, a stored group, or for new groups −1, −2, …
        similarity: N, to the most similar face that the group was joined by; −inf for one alone.
        merged: stored groups that became part of another: from the one to the other.
    """

    group: Ids
    similarity: Floats
    merged: dict[int, int]


def join(links: Links, core: NDArray[np.bool_], stored: Ids, sizes: Ids, *, apart: Apart) -> Joined:
    """Put N new faces into groups, old or new; stored groups may become one.

    Args:
        links: see the class.
        core: N+S, faces that are clear enough to connect others: new ones first.
        stored: S, group of each stored face, 0..G−1.
        sizes: G, faces of each group.
        apart: groups that stay apart, whatever links them.
    """
    count = len(core) - len(stored)
    graph = _Graph(links, core, stored, sizes, count)
    label = graph.supported()
    label = graph.attach(graph.pairs(label))
    return _assign(graph, label, apart)


class _Graph:
    """Nodes are the N new faces, then the G stored groups."""

    def __init__(
        self, links: Links, core: NDArray[np.bool_], stored: Ids, sizes: Ids, count: int
    ) -> None:
        self.count, self.sizes = count, sizes
        self.nodes = count + len(sizes)
        old = links.other >= count
        other = links.other.copy()
        other[old] = count + stored[links.other[old] - count]
        both = core[links.new] & core[links.other]
        self.new, self.face, self.other = links.new, links.other, other
        self.similarity, self.both = links.similarity, both
        self.target_core, self.new_core = core[links.other], core[links.new]
        # A stored group of one face is as alone as a new face.
        self.single = np.concatenate([np.ones(count, np.bool_), sizes == 1])

    def supported(self) -> Ids:
        """Label of each node after joining what a third face supports."""
        rows, cols = self.new[self.both], self.face[self.both]
        if not len(rows):
            return np.arange(self.nodes)
        size = int(max(rows.max(initial=0), cols.max(initial=0))) + 1
        one = _matrix(np.concatenate([rows, cols]), np.concatenate([cols, rows]), size, size)
        shared = (one @ one)[rows, cols]
        # Faces of a stored group are linked among each other.
        groups = self.other[self.both] - self.count
        old = groups >= 0
        into = np.zeros(len(rows), np.int64)
        if old.any():
            # A stored face counts once for each new one.
            in_group = _matrix(rows[old], groups[old], self.count, len(self.sizes), add=True)
            into[old] = np.asarray(in_group[rows[old], groups[old]]).ravel() - 1
        good = np.asarray(shared).ravel() + into >= 1
        return self._components(rows[good], self.other[self.both][good])

    def pairs(self, label: Ids) -> Ids:
        """The labels after joining two that are alone and each other's most similar."""
        alone = self._alone(label)
        chosen = self.both.copy()
        ends = np.concatenate([self.new[chosen], self.other[chosen]])
        others = np.concatenate([self.other[chosen], self.new[chosen]])
        best, _ = self._best(ends, others, np.tile(self.similarity[chosen], 2))
        nodes = np.flatnonzero(alone & (best >= 0))
        mutual = nodes[(best[best[nodes]] == nodes) & alone[best[nodes]]]
        joined = label.copy()
        joined[mutual] = np.minimum(label[mutual], label[best[mutual]])
        return joined

    def attach(self, label: Ids) -> Ids:
        """The labels after what is still alone went to its most similar clear face's group."""
        alone = self._alone(label)
        to = self.target_core
        back = self.new_core & (self.other >= self.count)
        ends = np.concatenate([self.new[to], self.other[back]])
        others = np.concatenate([self.other[to], self.new[back]])
        best, _ = self._best(
            ends, others, np.concatenate([self.similarity[to], self.similarity[back]])
        )
        nodes = np.flatnonzero(alone & (best >= 0))
        nodes = nodes[~alone[best[nodes]]]
        attached = label.copy()
        attached[nodes] = label[best[nodes]]
        return attached

    def closest(self) -> tuple[Ids, Floats]:
        """The most similar node of each new face, −1 without one, and the similarity."""
        best, score = self._best(
            np.concatenate([self.new, self.other]),
            np.concatenate([self.other, self.new]),
            np.tile(self.similarity, 2),
        )
        return best[: self.count], score[: self.count]

    def _alone(self, label: Ids) -> NDArray[np.bool_]:
        return np.asarray((np.bincount(label, minlength=self.nodes)[label] == 1) & self.single)

    def _best(self, ends: Ids, others: Ids, similarity: Floats) -> tuple[Ids, Floats]:
        order = np.argsort(similarity, kind="stable")  # the last one stays
        best = np.full(self.nodes, -1, np.int64)
        score = np.full(self.nodes, -np.inf, np.float32)
        best[ends[order]] = others[order]
        score[ends[order]] = similarity[order]
        return best, score

    def _components(self, rows: Ids, cols: Ids) -> Ids:
        graph = _matrix(rows, cols, self.nodes, self.nodes)
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _matrix(rows: Ids, cols: Ids, height: int, width: int, *, add: bool = False) -> csr_array:
    made = coo_array((np.ones(len(rows), np.int32), (rows, cols)), shape=(height, width)).tocsr()
    if not add:
        made.data[:] = 1
    return made


def _assign(graph: _Graph, label: Ids, apart: Apart) -> Joined:
    """From labels to groups; of stored ones the largest takes in the others."""
    count = graph.count
    old = np.arange(len(graph.sizes))
    order = np.lexsort((old, -graph.sizes))  # the largest first, then the oldest
    touched = set(label[:count].tolist())
    kept: dict[int, list[int]] = {}
    merged: dict[int, int] = {}
    for group in order.tolist():
        mine = int(label[count + group])
        if mine not in touched:
            continue
        here = kept.setdefault(mine, [])
        # A group that is refused stays as it is.
        if here and not any(apart(group, one) for one in (here[0], *_into(merged, here[0]))):
            merged[group] = here[0]
        else:
            here.append(group)
    closest, similarity = graph.closest()
    found = np.empty(count, np.int64)
    fresh: dict[int, int] = {}
    for row in range(count):
        mine = int(label[row])
        groups = kept.get(mine, [])
        if not groups:
            found[row] = fresh.setdefault(mine, -1 - len(fresh))
        else:
            near = int(closest[row]) - count
            near = merged.get(near, near)
            found[row] = near if near in groups else groups[0]
    return Joined(found, similarity, merged)


def _into(merged: dict[int, int], kept: int) -> list[int]:
    return [gone for gone, into in merged.items() if into == kept]


def simultaneous(
    start: NDArray[np.float64], end: NDArray[np.float64], at: tuple[float, float]
) -> bool:
    """True when one of the sightings [start, end] is there at the same time as ``at``."""
    same = (start == at[0]) & (end == at[1])  # also in a photo
    return bool((same | ((start < at[1]) & (at[0] < end))).any())
