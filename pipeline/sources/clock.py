"""The presentation times of a source's frames: they never go backwards."""

from __future__ import annotations

LARGEST_GAP = 10.0
"""Seconds by which a stream's clock may outrun ours between two frames; more is a jump."""
SMALLEST_STEP = 0.001
# Of a time lapse, steps of minutes are no jumps: they are as long as those before.
_USUAL_STEPS = 20


class FileClock:
    """Times of a file: those of its container.

    Args:
        origin: what counts as 0, on the container's clock.
        step: seconds between two frames, where the container does not say.
        jumps: the container's clock may jump forwards, too (what was sent as a stream): such a jump
            is left out.
    """

    def __init__(self, origin: float, step: float, *, jumps: bool = False) -> None:
        self._origin = origin
        self._step = step
        self._usual = step
        self._jumps = jumps
        self._last: float | None = None

    def stamp(self, time: float | None, *, passed: float = 0.0) -> float:
        """Seconds since the start of the frame with this time on the container's clock.

        ``passed``: seconds that we waited for the frame; by so much the clock may have gone on.
        """
        last = self._last
        if time is None:
            pts = 0.0 if last is None else last + self._step
        else:
            pts = max(0.0, time - self._origin)
            if last is not None:
                if pts < last or self._is_jump(pts - last, passed):
                    pts = last + self._step
                    self._origin = time - pts
                self._usual = pts - last
        self._last = pts
        return pts

    def _is_jump(self, step: float, passed: float) -> bool:
        return self._jumps and step > max(passed + LARGEST_GAP, _USUAL_STEPS * self._usual)


class LiveClock:
    """Times of a live stream, over all its connections: 0 is its first frame.

    Within a connection they follow the stream's own clock. Where that goes backwards or jumps
    (33-bit wrap of MPEG-TS, 32-bit wrap of RTP, a camera that sets its clock, a new connection) the
    time that passed on our monotonic clock counts instead.
    """

    def __init__(self) -> None:
        self._pts: float | None = None
        self._time: float | None = None
        self._arrived = 0.0
        self._fresh = True

    def reconnected(self) -> None:
        """The next frame has the clock of a new connection."""
        self._fresh = True

    def stamp(self, time: float | None, arrived: float, *, period: float | None = None) -> float:
        """Seconds since the first frame; each is larger than the one before.

        Args:
            time: on the stream's own clock in seconds; None where it has none.
            arrived: on our monotonic clock in seconds.
            period: seconds between two frames, where the stream says so.
        """
        if self._pts is None:
            self._pts = 0.0
        else:
            passed = max(0.0, arrived - self._arrived)
            step = passed if self._fresh else self._step(time, passed, period)
            self._pts += max(SMALLEST_STEP, step)
        self._time = time
        self._arrived = arrived
        self._fresh = False
        return self._pts

    def _step(self, time: float | None, passed: float, period: float | None) -> float:
        if time is not None and self._time is not None:
            step = time - self._time
            return step if 0 <= step <= passed + LARGEST_GAP else passed
        if time is None and self._time is None:
            return passed
        # RTSP: the first frame's time is not known before the server's first report.
        return passed if period is None else period
