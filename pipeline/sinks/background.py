"""A slow sink in a thread of its own, so that it cannot hold events back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from ..core.events import Event
from ..core.types import FrameResult
from ..metrics.families import OUTPUT_DROPPED
from ..metrics.store import Metrics
from .base import Sink

FRAMES = 16
IDLE_SECONDS = 1.0
LATE: Literal["late"] = "late"
"""Cause of a drop: the output is slower than the source."""


class BackgroundSink(Sink):
    """Runs a sink in its own thread; frames that arrive too fast for it are dropped.

    Events and ends of sources all arrive, in their order among the frames. An error of the sink
    is raised at the next call. Its `Sink.enrich` is not called: events do not wait for it.

    Args:
        inner: the sink; closed with this one, from its thread.
        name: of the output, in the metrics.
        frames: most that wait; each holds a whole picture.
    """

    def __init__(self, inner: Sink, *, name: str, frames: int = FRAMES) -> None:
        self.needs = inner.needs
        self.inner = inner
        self._name = name
        self._room = frames
        self._frames = 0
        self._metrics: Metrics | None = None
        self._calls: deque[tuple[bool, Callable[[], None]]] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def count_in(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.inner.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        if self._add(lambda: self.inner.write(result), frame=True):
            return
        if self._metrics is not None:
            self._metrics.add(
                OUTPUT_DROPPED, source=result.frame.source, output=self._name, cause=LATE
            )

    def event(self, event: Event) -> None:
        self._add(lambda: self.inner.event(event))

    def source_ended(self, source: str) -> None:
        self._add(lambda: self.inner.source_ended(source))

    def close(self) -> None:
        """Let the sink finish what waits, and close it."""
        with self._ready:
            if self._closing:
                return
            self._closing = True
            self._ready.notify()
        if self._thread is not None:
            self._thread.join()
        try:
            self.inner.close()
        finally:
            self._raise()

    def _add(self, call: Callable[[], None], *, frame: bool = False) -> bool:
        """Queue a call; False where there is no room for another frame."""
        with self._ready:
            self._raise()
            if frame and self._frames >= self._room:
                return False
            self._frames += frame
            self._calls.append((frame, call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._ready.notify()
            return True

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._calls or self._closing, IDLE_SECONDS)
                if self._calls:
                    frame, call = self._calls.popleft()
                elif self._closing:
                    return
                else:
                    frame, call = False, self.inner.idle
            try:
                call()
            except Exception as error:  # noqa: BLE001 - raised at the next call
                with self._ready:
                    self._error = error
                    self._calls.clear()
                    self._frames = 0
                return
            del call  # or the picture would live until the next one
            if frame:
                with self._ready:
                    self._frames -= 1
