"""The time between two searched frames of a source, and what it means for counts and time-outs.

At usual rates a face is confirmed by several detections, and a second without one means that it has
left. Of a camera with a picture every five seconds, or a time lapse, one detection is all there may
be, and a missed one is no absence.
"""

from __future__ import annotations

from collections import deque
from math import inf
from statistics import median

# Detections that are this long apart together are enough, however few.
ENOUGH_SECONDS = 1.0
# One missed detection is no absence.
MISSED = 2.5
_STEPS = 9


class SearchInterval:
    """The real interval between searched frames: the median of the last ones.

    Attributes:
        seconds: the interval; 0 before the second frame, ∞ after the end of a source (or of what it
            sent before a silence) with hardly a frame: its few pictures count like photos.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._at: float | None = None
        self._frames = 0

    def add(self, at: float) -> None:
        """A frame with this presentation time is searched."""
        if self._at is not None and at > self._at:
            self._steps.append(at - self._at)
        self._at = at
        self._frames += 1
        self.seconds = median(self._steps) if self._steps else 0.0

    def end(self, *, least: int) -> None:
        """No more frames for now; fewer than ``least`` count like photos."""
        if 0 < self._frames < least:
            self.seconds = inf
        self._frames = 0

    def scaled(self, count: int) -> int:
        """How many detections stand for ``count`` at usual rates, 1 to ``count``."""
        if not self.seconds:
            return count
        return max(1, min(count, round(ENOUGH_SECONDS / self.seconds)))

    def absence(self, least: float) -> float:
        """Seconds without a detection after which a face has left, at least ``least``."""
        if not self._steps:
            return inf  # how soon the next frame comes is not known
        return max(least, MISSED * median(self._steps))
