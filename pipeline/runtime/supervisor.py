"""Starts the threads of a run and stops all of them at the first failure.

`Supervisor.join` raises what a thread raised: no thread dies silently.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any, Self, TypeVar

from ..core.errors import Closed, StageFailed, StuckThread
from .channel import Channel, Closable

log = logging.getLogger(__name__)

LinkT = TypeVar("LinkT", bound=Closable)


class Supervisor:
    """Owns the threads of a run and the links between them.

    ::

        with Supervisor() as supervisor:
            frames = supervisor.channel(8, "frames")
            supervisor.on_stop(source.stop)
            supervisor.spawn("decode", read)
            supervisor.spawn("detect", lambda: run_worker([detect], frames, None))
            supervisor.join()

    An error inside the block aborts the run; leaving it always waits for the threads.

    Args:
        grace: seconds after a failure or an abort until `join` gives up on running threads.
    """

    def __init__(self, *, grace: float = 10.0) -> None:
        self._grace = grace
        # Re-entrant: stop() may be called by a signal handler while this very thread is in join.
        self._changed = threading.Condition(threading.RLock())
        self._threads: dict[str, threading.Thread] = {}
        self._running: set[str] = set()
        self._links: list[Closable] = []
        self._stoppers: list[Callable[[], None]] = []
        self._error: StageFailed | None = None
        self._aborted_at: float | None = None
        self._stopping = threading.Event()

    def channel(self, capacity: int, name: str) -> Channel[Any]:
        """A new channel that is aborted with the run."""
        return self.own(Channel[Any](capacity, name))

    def own(self, link: LinkT) -> LinkT:
        """Abort this link with the run (at once if it is aborted already); returns it."""
        with self._changed:
            self._links.append(link)
            aborted = self._aborted_at is not None
        if aborted:
            link.close(discard=True)
        return link

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call this once when the run is stopped or aborted (at once if it is already).

        It must return at once and be safe in a signal handler: set a flag, e.g. ``source.stop``.
        """
        with self._changed:
            if not self._stopping.is_set():
                self._stoppers.append(callback)
                return
        callback()

    def spawn(self, name: str, target: Callable[[], object]) -> None:
        """Run ``target`` in a thread; `Closed` ends it quietly, any other error fails the run.

        It also starts after an abort, when an earlier thread failed: it finds its links closed and
        frees what it holds.

        Raises:
            ValueError: there is a thread of that name.
        """
        with self._changed:
            if name in self._threads:
                raise ValueError(f"there is a thread named '{name}' already")
            # Daemon: a native call that hangs must not keep the interpreter from ending.
            thread = threading.Thread(
                target=self._run, args=(name, target), name=f"facestream-{name}", daemon=True
            )
            self._threads[name] = thread
            self._running.add(name)
        thread.start()

    def stop(self) -> None:
        """End cleanly: sources stop, delivered frames are processed. May be repeated.

        Safe in a signal handler. The last channel must still be read to its end; otherwise call
        `abort`.
        """
        with self._changed:
            if self._stopping.is_set():
                return
            self._stopping.set()
            stoppers, self._stoppers = self._stoppers, []
        for callback in stoppers:
            callback()

    def abort(self) -> None:
        """End at once: every link is closed and its items are thrown away."""
        with self._changed:
            if self._aborted_at is None:
                self._aborted_at = time.monotonic()
            links = list(self._links)
            self._changed.notify_all()
        for link in links:
            link.close(discard=True)
        self.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait until every thread has ended.

        Raises:
            StageFailed: a thread failed: the first error. A note names threads still running at
                the deadline.
            StuckThread: no error, but threads still run at the deadline.
        """
        began = time.monotonic()
        with self._changed:
            while self._running:
                left = self._limit(began, timeout) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(None if left == inf else left)
            stuck = [name for name in self._threads if name in self._running]
            error = self._error
        for name, thread in self._threads.items():
            if name not in stuck and thread is not threading.current_thread():
                thread.join()  # it has left our code; this takes microseconds
        if error is not None:
            if stuck:
                error.add_note(f"still running: {', '.join(stuck)}")
            raise error
        if stuck:
            raise StuckThread(stuck, round(time.monotonic() - began, 2))

    @property
    def stopping(self) -> bool:
        """True once the run was stopped or aborted."""
        return self._stopping.is_set()

    @property
    def error(self) -> StageFailed | None:
        return self._error

    @property
    def running(self) -> list[str]:
        """Names of the threads that have not ended, in the order they were started."""
        with self._changed:
            return [name for name in self._threads if name in self._running]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.join()
            return
        self.abort()
        try:
            self.join()
        except (StageFailed, StuckThread) as other:
            if other is not error:
                error.add_note(f"while stopping: {other}")

    def _limit(self, began: float, timeout: float | None) -> float:
        """The deadline of a join: its time-out, or the grace after an abort."""
        limit = inf if timeout is None else began + timeout
        if self._aborted_at is None:
            return limit
        return min(limit, max(began, self._aborted_at) + self._grace)

    def _run(self, name: str, target: Callable[[], object]) -> None:
        try:
            target()
        except Closed as closed:
            log.debug("%s: %s", name, closed)
        except BaseException as error:  # noqa: BLE001 - kept, and raised by join()
            self._fail(name, error)
        finally:
            with self._changed:
                self._running.discard(name)
                self._changed.notify_all()

    def _fail(self, name: str, error: BaseException) -> None:
        failure = error
        if not isinstance(failure, StageFailed):
            failure = StageFailed(name, error)
            failure.__cause__ = error
        with self._changed:
            first = self._error is None
            if first:
                self._error = failure
        if first:
            log.debug("%s failed, stopping the run", name, exc_info=error)
            self.abort()
        else:
            log.warning("%s failed too, after the first failure: %s", name, failure)
