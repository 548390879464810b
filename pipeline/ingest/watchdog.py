"""Judges a connection by the times of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# FFmpeg's own time-out is to come first: it knows better what went wrong.
_GRACE = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a connection is; times in seconds of a monotonic clock.

    Attributes:
        started: when it began to open.
        last_frame: when the last frame came, None before the first.
        busy: our side makes it wait (a file whose buffer is full).
        frozen: the picture does not change.
        alone: the last frame came with the first after a silence. A reader that times out gives
            what it still held, at once: only a later frame shows that the source is back.
    """

    started: float
    last_frame: float | None = None
    busy: bool = False
    frozen: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done.

    Attributes:
        state: ``opening`` (wait), ``live``, ``stalled`` (tell it), ``lost`` (open it again).
        reason: of ``stalled`` and ``lost``.
        recheck: seconds after which it has to be judged again, if nothing happens before.
    """

    state: Literal["opening", "live", "stalled", "lost"]
    reason: str = ""
    recheck: float = 60.0


@dataclass(frozen=True, slots=True)
class Watchdog:
    """The limits of a connection, in seconds.

    Attributes:
        open_within: until the first frame.
        stall_after: without a frame, until it counts as stalled.
        lost_after: without a frame, until it is opened again.
        frozen_after: of the same picture; for the reason's text alone.
    """

    open_within: float
    stall_after: float
    lost_after: float
    frozen_after: float

    def judge(self, progress: Progress, now: float) -> Verdict:
        """See `Verdict`."""
        if progress.last_frame is None:
            left = progress.started + self.open_within + _GRACE - now
            if left > 0:
                return Verdict("opening", recheck=left)
            return Verdict("lost", f"no picture within {self.open_within:g} s")
        idle = now - progress.last_frame
        if progress.busy:
            return Verdict("live")
        if idle >= self.lost_after + _GRACE:
            return Verdict("lost", f"no frame for {self.lost_after:g} s")
        lost_in = self.lost_after + _GRACE - idle
        if idle >= self.stall_after or progress.alone:
            return Verdict("stalled", f"no frame for {self.stall_after:g} s", lost_in)
        if progress.frozen:
            why = f"the picture has not changed for {self.frozen_after:g} s"
            return Verdict("stalled", why, self.stall_after - idle)
        return Verdict("live", recheck=min(lost_in, self.stall_after - idle))
