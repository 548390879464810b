"""One connection to a source: opened and read in a thread of its own, which may hang."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from ..core.errors import Closed, Retry, SourceError
from ..sources import Source
from .watchdog import Progress

log = logging.getLogger(__name__)

# Frames within so many seconds of each other came at once.
_AT_ONCE = 0.03

How = Literal["complete", "broken"]
"""How reading ended: there is nothing more to come, or there should have been."""


class Session:
    """Opens a source and has it read. Nobody has to wait for it: see `leave`.

    A native call may hang for as long as FFmpeg's time-outs allow, or longer. The thread is then
    left alone: it is told to end, closes its container by itself when the call returns, and what
    it still delivers is not wanted any more.

    Args:
        name: of the thread, without credentials.
        open_source: opens the source; it should end soon after the event is set.
        read: reads it to its end; runs in this thread.
        notify: called when something happened that its owner should look at.
    """

    def __init__(
        self,
        name: str,
        *,
        open_source: Callable[[threading.Event], Source],
        read: Callable[[Session, Source], How],
        notify: Callable[[], None],
    ) -> None:
        self.halt = threading.Event()
        self.started = time.monotonic()
        self.first_frame: float | None = None
        self.last_frame: float | None = None
        self.busy = False
        self.frozen = False
        self.alert = False  # each frame is news: it is stalled
        self.how: How = "broken"
        self.reason = "the stream ended"
        self.retry: Retry = "soon"
        self.error: BaseException | None = None
        self._alone = False
        self._back_at: float | None = None  # when the first frame after a silence came
        self._open_source = open_source
        self._read = read
        self._notify = notify
        self._done = threading.Event()
        # Daemon: a native call that hangs must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    @property
    def done(self) -> bool:
        """It has ended, and its source is closed."""
        return self._done.is_set()

    @property
    def progress(self) -> Progress:
        """For the watchdog."""
        return Progress(self.started, self.last_frame, self.busy, self.frozen, self._alone)

    @property
    def seconds(self) -> float:
        """From its first frame to its last."""
        if self.first_frame is None or self.last_frame is None:
            return 0.0
        return self.last_frame - self.first_frame

    def saw_frame(self, now: float, *, frozen: bool = False) -> None:
        """A frame came; called by ``read``."""
        news = self.alert or frozen != self.frozen or self.first_frame is None
        if not self.alert or self.frozen:
            self._back_at = None
        elif self._back_at is None:
            self._back_at = now
        self._alone = self._back_at is not None and now - self._back_at < _AT_ONCE
        self.last_frame = now
        self.frozen = frozen
        if self.first_frame is None:
            self.first_frame = now
        if news:
            self._notify()

    def leave(self, patience: float) -> bool:
        """Tell it to end and wait for that; False when it still hangs after so many seconds."""
        self.halt.set()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._open_source(self.halt) as source:
                self.how = self._read(self, source)
        except SourceError as error:
            self.reason, self.retry = error.reason, error.retry
        except Closed as closed:
            log.debug("%s: %s", self._thread.name, closed)
            self.how = "complete"  # nobody wants more
        except BaseException as error:  # noqa: BLE001 - raised again by the owner
            self.error = error
        finally:
            self._done.set()
            self._notify()
