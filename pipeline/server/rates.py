"""How often somebody may do something, and how many streams there may be."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

MOST_KEPT = 10_000


class RateLimit:
    """Allows so many events a minute to each name, all at once or spread.

    Args:
        per_minute: events.
        clock: monotonic, in seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, per_minute: int) -> None:
        """Allow so many from now on."""
        self._most = float(per_minute)

    def take(self, name: str, *, factor: int = 1) -> float:
        """Count an event; returns 0, or the seconds after which the next one is allowed.

        Args:
            factor: this name may have so many times as many.
        """
        most, now = self._most * factor, self._clock()
        with self._lock:
            left = self._left(name, most, now)
            if left < 1:
                return (1 - left) * 60 / most
            self._keep(name, left - 1, now)
            return 0.0

    def wait(self, name: str) -> float:
        """Seconds until an event is allowed, without counting one."""
        with self._lock:
            left = self._left(name, self._most, self._clock())
        return 0.0 if left >= 1 else (1 - left) * 60 / self._most

    def _left(self, name: str, most: float, now: float) -> float:
        left, since = self._buckets.get(name, (most, now))
        return min(most, left + (now - since) * most / 60)

    def _keep(self, name: str, left: float, now: float) -> None:
        self._buckets[name] = (left, now)
        self._buckets.move_to_end(name)
        while len(self._buckets) > MOST_KEPT:
            self._buckets.popitem(last=False)


class StreamPlaces:
    """How many streams there are, in all and of each actor; used from one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._actors: Counter[str] = Counter()

    def take(self, actor: str) -> bool:
        """Count a stream; False where there is no place. One actor gets three quarters at most."""
        if self._actors.total() >= self._most or self._actors[actor] >= max(self._most * 3 // 4, 1):
            return False
        self._actors[actor] += 1
        return True

    def release(self, actor: str) -> None:
        """A stream has ended."""
        self._actors[actor] -= 1
