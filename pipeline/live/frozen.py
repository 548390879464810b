"""Notices a camera that sends the same picture for ever.

The sensor of a working camera is never silent: two pictures of it differ in some value even at
night. The very same picture for a long time comes from a camera that hangs, or from a recorder
that shows its last picture of a camera that is gone. Its encoder may go on all the same: then the
picture decodes to a few that differ a little, a key frame and what refines it, which come again
with every key frame (x264: 17 in the first second, then the same 4 for ever).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from zlib import crc32

_LOOK_EVERY = 0.5
_VARIANTS = 16
"""Different pictures that one frozen picture may decode to."""


class FrozenDetector:
    """Compares checksums of a sample of the luma plane with the last ones, twice a second.

    Args:
        after: seconds of the same picture from which it counts as frozen.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._look_every = min(_LOOK_EVERY, after / 4)
        self._looked: float | None = None
        self._known: deque[int] = deque(maxlen=_VARIANTS)
        self._since = 0.0
        self.frozen = False

    def look(self, sample: Callable[[], bytes], now: float) -> bool:
        """True while the picture has been the same for so long.

        Args:
            sample: gives bytes of the newest picture; called only when it is time to look.
            now: seconds on a monotonic clock.
        """
        # A frozen picture is looked at each time: it should be told at once when it moves again.
        early = self._looked is not None and now - self._looked < self._look_every
        if early and not self.frozen:
            return False
        self._looked = now
        found = crc32(sample())
        if found in self._known:
            self._known.remove(found)
        else:
            self._since = now
        self._known.append(found)
        self.frozen = now - self._since >= self._after
        return self.frozen
