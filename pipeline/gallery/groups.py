"""Photos that belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def groups_of(near: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The connected groups of N photos: 0 for the largest (of several, the one with the first
    photo), other numbers for the rest.

    Args:
        near: N×N, symmetric: which photos resemble each other.
    """
    groups = np.full(len(near), -1, np.int64)
    count = 0
    while len(open_ := np.flatnonzero(groups < 0)):
        reached = np.zeros(len(near), np.bool_)
        front = open_[:1]
        while len(front):
            reached[front] = True
            front = np.flatnonzero(near[front].any(axis=0) & ~reached)
        groups[reached] = count
        count += 1
    sizes = np.bincount(groups, minlength=1)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[groups] if len(groups) else groups
