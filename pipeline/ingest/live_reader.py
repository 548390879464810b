"""Reads one live source until the run ends, across all its connections."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Protocol

from ..core.config import LiveSettings
from ..core.errors import Retry
from ..core.events import SourceStateEvent
from ..core.networks import AddressRules
from ..core.types import Frame, LazyFrame
from ..metrics.store import Metrics
from ..runtime.source_queue import SourceQueue
from ..sources import Source, SourceOpener, SourceOptions, SourceSpec, Tls, open_source
from .connection import Session, Watchdog
from .delivery import Delivery
from .file_reader import SourceState
from .isolation import SourceIsolation
from .status import Status

log = logging.getLogger(__name__)

_STEADY = 10.0  # seconds of frames after which the next pause is short again
# Seconds to wait for a session to end before it is abandoned; stop() promises two seconds.
_STOP_TIMEOUT = 0.7
_MAX_HANGING = 4  # sessions; each holds a thread and a connection
_SCHEDULE_CHECK = 30.0  # seconds; clocks can be set


def live_options(options: SourceOptions, live: LiveSettings) -> SourceOptions:
    """The options with what the settings of live sources say."""
    return replace(
        options,
        open_timeout=live.open_timeout,
        read_timeout=live.read_timeout,
        rtsp_transport=live.transport,
        snapshot_every=live.snapshot_every,
        tls=Tls(live.tls_ca, live.tls_verify),
        networks=None if live.networks is None else AddressRules(live.networks),
    )


class WatchTimes(Protocol):
    """When a camera is watched; see ``core.config.schedule.Schedule``."""

    def open_at(self, when: datetime) -> bool: ...

    def next_change(self, when: datetime) -> datetime | None: ...


class Backoff:
    """Pauses that double from ``first`` to ``longest`` seconds, each shortened by up to a half.

    Without jitter, cameras lost together (a switch, a recorder) would reconnect together.
    """

    def __init__(
        self, first: float, longest: float, *, jitter: random.Random | None = None
    ) -> None:
        self._first = first
        self._longest = max(first, longest)
        self._jitter = jitter or random.Random()
        self.failures = 0

    def pause(self, retry: Retry = "soon") -> float:
        """Seconds to wait after one more failure.

        ``slowly`` is the longest pause: many devices lock an account after a few wrong passwords.
        """
        full = self._longest
        if retry == "soon":
            # 2**30 s is above any pause; without a limit months of retries overflow a float.
            full = min(self._longest, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return full * self._jitter.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The connection was good: the next pause is the first again."""
        self.failures = 0


class LiveReader:
    """Reads a live source into a buffer of the queue; ``run`` is for a thread of its own.

    A source that cannot be opened or is lost is retried after a pause, without limit. It fails when
    no attempt can succeed (`SourceError.retry` is ``never``) or its frames cannot be processed, and
    ends when it proves to be a file and was read to its end.

    Args:
        queue: where frames go: a live source's as `LazyFrame`, the newest only.
        options: how it is read; the time-outs and the transport are those of ``live``.
        on_state: gets an event for each change of state, in the thread of ``run``.
        schedule: when it is watched; None: always.
        buffer_frames: frames that may wait if it proves to be a file.
        isolation: counts errors of one source; without it they end the run.
        start_within: seconds that the opener takes before it begins to connect.
    """

    def __init__(
        self,
        spec: SourceSpec,
        queue: SourceQueue[Frame | LazyFrame],
        metrics: Metrics,
        *,
        options: SourceOptions,
        live: LiveSettings,
        on_state: Callable[[SourceStateEvent], None],
        schedule: WatchTimes | None = None,
        opener: SourceOpener = open_source,
        buffer_frames: int | None = None,
        isolation: SourceIsolation | None = None,
        start_within: float = 0.0,
    ) -> None:
        self.state = SourceState(spec.name, live=True)
        self._isolation = isolation or SourceIsolation()
        self._spec = spec
        self._options = live_options(options, live)
        self._options.tls.warn(spec.name, spec.location)
        self._live = live
        self._schedule = schedule
        self._opener = opener
        self._status = Status(self.state, metrics, on_state)
        self._backoff = Backoff(live.retry_first, live.retry_longest)
        self._watchdog = _watchdog(spec, live, start_within)
        self._delivery = Delivery(
            *(self.state, queue, metrics),
            options=options,
            frozen_after=live.frozen_after,
            buffer_frames=buffer_frames,
        )
        self._session: Session | None = None
        self._hanging: list[Session] = []
        self._connections = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End soon; safe in a signal handler. ``run`` returns within two seconds."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Connect, read and try again until `stop`, or until the source is at its end."""
        reason: str | None = None
        try:
            reason = self._read_to_the_end()
        finally:
            self._delivery.close()
            self._disconnect()
            if self._status.current != "failed":
                self._status.other("ended", reason)
            self.state.done = True

    def _read_to_the_end(self) -> str | None:
        while not self._stopping.is_set():
            if not self._is_watched():
                continue
            session = self._connect()
            reason = self._watch(session) if session is not None else "earlier reads still hang"
            if self._stopping.is_set():
                break
            if session is not None:
                self._disconnect()
                if session.error is not None:
                    reason = self._isolation.failed(self._spec.name, "decode", session.error)
                if self.state.failure is not None:
                    self._status.other("failed", self.state.failure)
                    return self.state.failure
                if session.outcome == "complete":
                    return None
                hopeless = session.done and session.retry == "never"
                if hopeless or self._delivery.file_like:
                    self.state.problems.append(f"{self._spec.name}: {reason}")
                    if not self._delivery.file_like:
                        self._status.other("failed", reason)
                    return reason
            if reason is not None:
                self._back_off(session, reason)
        if self._status.current == "retrying":
            self.state.problems.append(f"{self._spec.name}: was away when the run ended")
        return None

    def _is_watched(self) -> bool:
        """False after a wait, when it is not to be watched now."""
        if self._schedule is None:
            return True
        now = datetime.now(UTC)
        if self._schedule.open_at(now):
            return True
        self._status.other("paused", "outside its schedule")
        change = self._schedule.next_change(now)
        left = (change - now).total_seconds() if change is not None else _SCHEDULE_CHECK
        self._stopping.wait(min(max(left, 0.01), _SCHEDULE_CHECK))
        return False

    def _connect(self) -> Session | None:
        """A new connection; None while too many old ones hang."""
        self._hanging = [session for session in self._hanging if not session.done]
        if len(self._hanging) >= _MAX_HANGING:
            return None
        if self._status.current != "retrying":
            self._status.other("connecting")
        self._connections += 1
        self._session = Session(
            f"facestream-live-{self._spec.name}-{self._connections}",
            open_source=self._open,
            read=self._delivery.read,
            notify=self._wake.set,
        )
        self._delivery.switch_to(self._session)
        self._session.start()
        return self._session

    def _watch(self, session: Session) -> str | None:
        """Wait for the end of the connection; returns why it ended, None outside the schedule."""
        seen = False
        while not self._stopping.is_set():
            if not seen and session.first_frame is not None:
                self._status.live(reopened=self.state.opened)
                seen = self.state.opened = True
            if session.done:
                return session.reason
            if self._schedule is not None and not self._schedule.open_at(datetime.now(UTC)):
                return None
            verdict = self._watchdog.check(session.progress, time.monotonic())
            if verdict.state == "lost":
                return verdict.reason
            if verdict.state == "live":
                self._status.live()
            session.alert = verdict.state == "stalled"
            if verdict.state == "stalled":
                self._status.stalled(verdict.reason)
            self._wake.wait(min(verdict.recheck, _SCHEDULE_CHECK))
            self._wake.clear()
        return None

    def _back_off(self, session: Session | None, reason: str) -> None:
        if session is not None and session.seconds >= min(_STEADY, self._live.retry_longest):
            self._backoff.reset()
            self._isolation.succeeded(self._spec.name, "decode")
        pause = self._backoff.pause(session.retry if session is not None else "slowly")
        self._status.retrying(reason, pause)
        self._stopping.wait(pause)

    def _disconnect(self) -> None:
        """End the connection, or abandon its thread."""
        self._delivery.switch_to(None)
        session, self._session = self._session, None
        if session is None or session.stop(_STOP_TIMEOUT):
            return
        self._hanging.append(session)
        log.debug("%s: a native read hangs, abandoned", self._spec.name)

    def _open(self, halt: threading.Event) -> Source:
        # Frames are counted here, over all connections.
        options = replace(self._options, max_frames=None, halt=halt)
        return self._opener(self._spec, options)


def _watchdog(spec: SourceSpec, live: LiveSettings, start_within: float) -> Watchdog:
    # A pipe can be silent for any time, and cannot be opened again.
    endless = spec.kind == "stdin"
    return Watchdog(
        # Opening has two steps, each with the time-out: connecting, and the first packets.
        open_within=inf if endless else start_within + 2 * live.open_timeout,
        stall_after=live.stall_after,
        lost_after=inf if endless else live.read_timeout,
        frozen_after=live.frozen_after,
    )
