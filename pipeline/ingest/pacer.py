"""Gives streams that come in bursts their rhythm back."""

from __future__ import annotations

_LATE = 1.0
_JUMP = 10.0


class Pacer:
    """How long to hold a frame back so that frames come as they were taken.

    HLS comes in segments: six seconds of frames at once, then nothing for as long. A buffer that
    keeps the newest frame would lose nearly all of them.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._offset = 0.0  # of our clock against the stream's

    def wait(self, time: float | None, now: float) -> float:
        """Seconds until this frame is due.

        Args:
            time: of the frame on the stream's clock in seconds; None is due at once.
            now: on our monotonic clock in seconds.
        """
        if time is None:
            return 0.0
        jumped = self._last is None or not 0 <= time - self._last <= _JUMP
        self._last = time
        if jumped or now - time - self._offset > _LATE:
            # From here on: a new stretch, or one that the network kept back.
            self._offset = now - time
        return max(0.0, time + self._offset - now)
