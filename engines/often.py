"""Which things come often."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

# As for OpenVINO's static programs: what came this often lately is worth preparing for.
OFTEN = 32


class Often:
    """Counts what comes, and forgets what has not come lately. May be used from several threads.

    Args:
        keep: how many different things are remembered.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._times: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()

    def seen(self, thing: Hashable) -> bool:
        """Count it once more; whether it comes often by now."""
        with self._lock:
            times = self._times.pop(thing, 0) + 1
            self._times[thing] = times
            while len(self._times) > self._keep:
                self._times.popitem(last=False)
            return times >= OFTEN

    def forget(self, thing: Hashable) -> None:
        """It has to come often again."""
        with self._lock:
            self._times.pop(thing, None)
