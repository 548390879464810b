"""Which batch sizes to run when a batch comes that is none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# What a run costs beside its rows, in rows. A network of 60 kernels takes about 150 µs on a
# data-centre card however few its rows are; at the 60,000 rows a second that such a card is to
# reach, those are nine rows' time.
_OVERHEAD = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Rows ``start`` to ``stop`` of a batch, run as ``size`` rows: the last are filled up.

    A fill costs no second run, and rows do not see each other, so what is in them is no matter.
    """

    start: int
    stop: int
    size: int

    @property
    def rows(self) -> int:
        """How many rows are real."""
        return self.stop - self.start


@lru_cache(maxsize=1024)
def split_batch(count: int, buckets: tuple[int, ...]) -> tuple[Part, ...]:
    """Run ``count`` rows in these batch sizes: the cheapest way of filling up and splitting.

    A little short of a bucket is filled up (7 of 8), as one run costs less than two; far
    short of it is split (33 of 64: 32 and 1). Of all ways the one with the fewest
    rows + ``_OVERHEAD`` per run is taken, with the large parts first.

    Args:
        count: at least 1.
        buckets: at least one batch size, each at least 1; in any order.

    Raises:
        ValueError: out of these ranges.
    """
    if count < 1 or not buckets or min(buckets) < 1:
        raise ValueError(f"cannot run {count} rows in batches of {buckets}")
    sizes = sorted(set(buckets))
    largest = sizes[-1]
    # What is far above the largest is that many times the largest in any case.
    whole = max(count // largest - 1, 0)
    chosen = [largest] * whole + _cheapest(count - whole * largest, sizes)
    parts: list[Part] = []
    start = 0
    for size in chosen:
        stop = min(start + size, count)
        parts.append(Part(start, stop, size))
        start = stop
    return tuple(parts)


def _cheapest(count: int, sizes: Sequence[int]) -> list[int]:
    """Batch sizes that hold ``count`` rows at the least cost, falling."""
    cost = [0] + [0] * count
    first = [0] * (count + 1)
    for rest in range(1, count + 1):
        ways = ((cost[max(rest - size, 0)] + size + _OVERHEAD, size) for size in sizes)
        cost[rest], first[rest] = min(ways)
    chosen = []
    while count > 0:
        chosen.append(first[count])
        count -= first[count]
    return sorted(chosen, reverse=True)
