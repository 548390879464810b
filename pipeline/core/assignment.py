"""Linear assignment: pairs of rows and columns with the greatest sum of gains."""

from __future__ import annotations

from typing import Any

import lap  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray


def assign(gains: NDArray[Any]) -> list[tuple[int, int]]:
    """The pairs with the greatest sum of gains; each row and each column is in one pair at most.

    Args:
        gains: N×M; a pair whose gain is not above 0 is not made. Finite, or −inf; below 1e6, which
            the solver takes for infinite.

    Returns:
        (row, column), by row.
    """
    if not gains.size:
        return []
    rows = np.flatnonzero(gains.max(axis=1) > 0)
    best = gains.argmax(axis=1)
    if len(set(best[rows].tolist())) < len(rows):
        costs = -np.maximum(gains[rows], 0.0, dtype=np.float64)
        columns, _ = lap.lapjv(costs, extend_cost=True, return_cost=False)
        taken = columns >= 0
        rows, columns = rows[taken], columns[taken]
    else:  # no two rows want the same column: the usual case
        columns = best[rows]
    positive = gains[rows, columns] > 0
    return list(zip(rows[positive].tolist(), columns[positive].tolist(), strict=True))
