"""One connection to a source: read in a thread of its own, which may hang, and watched."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..core.errors import Closed, Retry, SourceError
from ..sources import Source

log = logging.getLogger(__name__)

_TOGETHER = 0.03  # frames within so many seconds of each other arrived together
_SMOOTHING = 0.3  # of the interval between frames
_GRACE = 0.5  # FFmpeg's own time-out acts first: its error is more precise

Outcome = Literal["complete", "broken"]
"""How reading ended: at the end of the source, or before it."""


class Session:
    """Opens a source and reads it in a thread that can be abandoned.

    A native call may hang for as long as FFmpeg's time-outs allow, or longer. An abandoned thread
    closes its container when the call returns; the frames that it still delivers are discarded.

    Args:
        open_source: opens the source; it should end soon after the event is set.
        read: reads it to its end; runs in this thread.
        notify: called when its owner should check it.
    """

    def __init__(
        self,
        name: str,
        *,
        open_source: Callable[[threading.Event], Source],
        read: Callable[[Session, Source], Outcome],
        notify: Callable[[], None],
    ) -> None:
        self.halt = threading.Event()
        self.progress = SessionProgress(time.monotonic())
        self.first_frame: float | None = None
        self.alert = False  # it is stalled: notify at each frame
        self.outcome: Outcome = "broken"
        self.reason = "the stream ended"
        self.retry: Retry = "soon"
        self.error: Exception | None = None
        self._back_at: float | None = None  # time of the first frame after a silence
        self._open_source = open_source
        self._read = read
        self._notify = notify
        self._done = threading.Event()
        # Daemon: a native call that hangs must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def done(self) -> bool:
        """It has ended, and its source is closed."""
        return self._done.is_set()

    @property
    def seconds(self) -> float:
        """From its first frame to its last."""
        last = self.progress.last_frame
        return 0.0 if self.first_frame is None or last is None else last - self.first_frame

    def saw_frame(self, now: float, *, frozen: bool = False) -> None:
        """Called by ``read`` for each frame."""
        progress = self.progress
        notable = self.alert or frozen != progress.frozen or self.first_frame is None
        if not self.alert or progress.frozen:
            self._back_at = None
        elif self._back_at is None:
            self._back_at = now
        progress.first_burst = self._back_at is not None and now - self._back_at < _TOGETHER
        if progress.last_frame is not None:
            gap = now - progress.last_frame
            progress.interval += _SMOOTHING * (gap - progress.interval)
        progress.last_frame = now
        progress.frozen = frozen
        if self.first_frame is None:
            self.first_frame = now
        if notable:
            self._notify()

    def stop(self, timeout: float) -> bool:
        """End it; False when it still hangs after so many seconds."""
        self.halt.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._open_source(self.halt) as source:
                self.outcome = self._read(self, source)
        except SourceError as error:
            self.reason, self.retry = error.reason, error.retry
        except Closed as closed:
            log.debug("%s: %s", self._thread.name, closed)
            self.outcome = "complete"  # the run has ended
        except Exception as error:  # noqa: BLE001 - reported by the owner
            self.error, self.reason = error, f"unexpected {type(error).__name__}"
        finally:
            self._done.set()
            self._notify()


@dataclass(slots=True)
class SessionProgress:
    """What the watchdog checks of a connection; times in seconds of a monotonic clock.

    Attributes:
        started: when it began to open.
        last_frame: when the last frame arrived, None before the first.
        busy: it waits for us (a file whose buffer is full).
        frozen: the picture does not change.
        first_burst: the last frame arrived together with the first after a silence. A reader that
            times out delivers the frames that it still holds: only a later one shows that the
            source is back.
        interval: between two frames; a slow source is silent for so long without being stalled.
    """

    started: float
    last_frame: float | None = None
    busy: bool = False
    frozen: bool = False
    first_burst: bool = False
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state of a connection.

    Attributes:
        state: ``opening`` (wait), ``live``, ``stalled``, ``lost`` (to be opened again).
        reason: of ``stalled`` and ``lost``.
        recheck: seconds until the next check, if nothing happens before.
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

    def check(self, progress: SessionProgress, now: float) -> SessionState:
        if progress.last_frame is None:
            left = progress.started + self.open_within + _GRACE - now
            if left > 0:
                return SessionState("opening", recheck=left)
            return SessionState("lost", f"no picture within {self.open_within:g} s")
        idle = now - progress.last_frame - progress.interval
        if progress.busy:
            return SessionState("live")
        if idle >= self.lost_after + _GRACE:
            return SessionState("lost", f"no frame for {self.lost_after:g} s")
        lost_in = self.lost_after + _GRACE - idle
        if idle >= self.stall_after or progress.first_burst:
            return SessionState("stalled", f"no frame for {self.stall_after:g} s", lost_in)
        if progress.frozen:
            why = f"the picture has not changed for {self.frozen_after:g} s"
            return SessionState("stalled", why, self.stall_after - idle)
        return SessionState("live", recheck=min(lost_in, self.stall_after - idle))
