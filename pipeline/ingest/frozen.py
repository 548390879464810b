"""Notices a camera that sends the same picture for ever.

The sensor of a working camera is never silent. What a camera that hangs sends is the very same
picture, coded again and again: the coding moves values by a few steps at each key frame, and
between these the pictures are equal to the last bit. A quiet room at night is as still, but there
hardly two pictures are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_LOOK_EVERY = 0.5
# Steps of 255 by which coding alone moved values of a still portrait: at most 5 (x264, crf 23).
_CODING_NOISE = 8
# Of a still portrait with a key frame every 10 frames, half equalled the picture before.
_LEAST_EQUAL = 0.1


class FrozenDetector:
    """Compares samples of the luma plane, of two neighbouring frames at most twice a second.

    Args:
        after: seconds of the same picture from which it counts as frozen.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._look_every = min(_LOOK_EVERY, after / 4)
        self._looked: float | None = None
        self._first: NDArray[np.int16] | None = None  # how it was when it became still
        self._since = 0.0
        self._looks = 0
        self._equal = 0
        self._before: bytes | None = None  # of the frame before, to compare the next with
        self.frozen = False

    def look(self, sample: Callable[[], bytes], now: float) -> bool:
        """True while the picture has been the same for so long.

        Args:
            sample: gives bytes of the newest picture; called only when it is time to look.
            now: seconds on a monotonic clock.
        """
        if self._before is not None:
            self._equal += sample() == self._before
            self._looks += 1
            self._before = None
            return self.frozen
        # A frozen picture is looked at each time: it should be told at once when it moves again.
        if not self.frozen and self._looked is not None and now - self._looked < self._look_every:
            return False
        self._looked = now
        found = sample()
        if not self._still(np.frombuffer(found, np.uint8).astype(np.int16)):
            self._since, self._looks, self._equal = now, 0, 0
        self._before = None if self.frozen else found
        enough = self._equal > 0 and self._equal >= _LEAST_EQUAL * self._looks
        self.frozen = now - self._since >= self._after and enough
        return self.frozen

    def _still(self, found: NDArray[np.int16]) -> bool:
        first = self._first
        if (
            first is not None
            and first.size == found.size
            and np.abs(found - first).max(initial=0) <= _CODING_NOISE
        ):
            return True
        self._first = found
        return False
