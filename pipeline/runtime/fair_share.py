"""Shares of time: who is served next, and whose frames cost far more than the others'.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each source has had some time; the one that
had the least is next. Who comes back from idling continues at the time of the one served last, so
that idling earns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# A frame counts as costly from this many seconds, and from this multiple of the next cheaper
# source's. Cheap frames count as half of the first: among them ratios mean nothing.
COSTLY_SECONDS = 0.1
COSTLY_TIMES = 3.0
# A source whose frames were not measured yet counts as this: the first frames of a run take longer.
UNKNOWN_SECONDS = 0.33

_LATEST = 0.3  # weight of the newest cost in the average


@dataclass(slots=True, eq=False)
class Share:
    """What a source had of the time, in seconds.

    Attributes:
        had: time so far, with the estimate for what is under way.
        cost: of one frame, averaged; 0 before the first.
        spent: measured for what is under way.
    """

    had: float = 0.0
    cost: float = 0.0
    spent: float = 0.0
    _taken: int = 0
    _estimate: float = 0.0

    def returns(self, clock: float) -> None:
        """It has work again; ``clock`` is the time had by the one that was served last."""
        self.had = max(self.had, clock)

    def take(self) -> None:
        """One more piece of work is under way."""
        self._taken += 1
        self._estimate += self.cost
        self.had += self.cost

    def settle(self) -> None:
        """What was under way is done: its measured time replaces the estimate."""
        if not self._taken:
            return
        self.had += self.spent - self._estimate
        each = self.spent / self._taken
        self.cost = each if not self.cost else self.cost + _LATEST * (each - self.cost)
        self.spent, self._taken, self._estimate = 0.0, 0, 0.0


def next_of(shares: Sequence[Share]) -> int:
    """Which of them is served next; of equal ones the first."""
    return min(range(len(shares)), key=lambda number: shares[number].had)


def costly(costs: Sequence[float]) -> list[bool]:
    """Which of the sources with these costs a frame (seconds, 0: unknown) are costly.

    They are those above the widest gap, if it is wide: so several may be, but never all.
    """
    known = sorted(max(cost, COSTLY_SECONDS / 2) if cost else UNKNOWN_SECONDS for cost in costs)
    gaps = [(above / below, above) for below, above in pairwise(known) if above >= COSTLY_SECONDS]
    width, limit = max(gaps, default=(0.0, 0.0))
    return [width >= COSTLY_TIMES and 0 < limit <= cost for cost in costs]
