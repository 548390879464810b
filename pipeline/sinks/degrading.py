"""Outputs of live runs: one that fails loses what it cannot write, and the cameras go on."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from ..core.errors import OutputClosed, OutputError
from ..core.events import Event, Left, OutputCause, OutputStateEvent
from ..core.types import FrameResult
from ..metrics.families import OUTPUT_DEGRADED, OUTPUT_ERRORS, OUTPUT_LOST
from ..metrics.store import Metrics
from ..observability.report import OutputReport
from .background import BackgroundSink
from .base import Sink, SourcesSink

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds between two attempts; each pause is twice the one before."""
CALM_SECONDS = 60.0
"""An output that fails again sooner goes on with the longer pauses: it cannot fill the log."""

Item = Literal["frame", "event", "picture"]
_CAUSES: dict[OutputCause, tuple[int, ...]] = {
    "disk_full": (errno.ENOSPC, errno.EDQUOT),
    "too_large": (errno.EFBIG,),
    "denied": (errno.EACCES, errno.EPERM, errno.EROFS),
    "missing": (errno.ENOENT, errno.ENOTDIR, errno.ENODEV),
    "no_descriptors": (errno.EMFILE, errno.ENFILE),
    "io_error": (errno.EIO, errno.ESTALE, errno.EPIPE),
}


@dataclass(slots=True)
class _Trouble:
    """Why and since when an output fails, and what it lost since."""

    cause: OutputCause
    reason: str
    since: datetime
    retry_at: float = 0.0
    lost: Counter[Item] = field(default_factory=Counter)


class OutputHealth:
    """The outputs of a run that fail, or did; from any thread.

    Args:
        metrics: where errors and losses are counted.
        clock: monotonic, in seconds.
    """

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._reports: dict[str, OutputReport] = {}
        self._changes: deque[OutputStateEvent] = deque()

    @property
    def lost(self) -> int:
        """What all outputs lost so far."""
        return sum(sum(report.lost.values()) for report in self.reports())

    def reports(self) -> tuple[OutputReport, ...]:
        """The outputs that failed at some time."""
        with self._lock:
            return tuple(self._reports.values())

    def next_change(self) -> OutputStateEvent | None:
        """The next change of an output's state that nobody took yet."""
        with self._lock:
            return self._changes.popleft() if self._changes else None

    def failed(self, output: str, trouble: _Trouble, *, first: bool) -> None:
        """An attempt to write failed."""
        self._metrics.add(OUTPUT_ERRORS, output=output, cause=trouble.cause)
        before = self._report(output)
        self._keep(
            replace(
                before,
                degraded=True,
                cause=trouble.cause,
                reason=trouble.reason,
                errors=before.errors + 1,
            )
        )
        if first:
            log.warning(
                "output degraded: %s; what it loses is counted, it is tried again", trouble.reason
            )
            self._change(output, trouble, "degraded")

    def lose(self, output: str, trouble: _Trouble, item: Item, count: int = 1) -> None:
        """So many were not written."""
        trouble.lost[item] += count
        self._metrics.add(OUTPUT_LOST, count, output=output, item=item, cause=trouble.cause)
        before = self._report(output)
        lost = {**before.lost, item: before.lost.get(item, 0) + count}
        self._keep(replace(before, lost=lost))

    def recovered(self, output: str, trouble: _Trouble) -> None:
        """It was written again."""
        self._keep(replace(self._report(output), degraded=False))
        lost = ", ".join(f"{n} {item}{'s' * (n > 1)}" for item, n in sorted(trouble.lost.items()))
        log.warning("output works again: %s (lost: %s)", output, lost or "nothing")
        self._change(output, trouble, "recovered")

    def _report(self, output: str) -> OutputReport:
        with self._lock:
            return self._reports.get(output) or OutputReport(output, False, "failed", "", 0, {})

    def _keep(self, report: OutputReport) -> None:
        with self._lock:
            self._reports[report.name] = report
        self._metrics.set(OUTPUT_DEGRADED, float(report.degraded), output=report.name)

    def _change(
        self, output: str, trouble: _Trouble, state: Literal["degraded", "recovered"]
    ) -> None:
        event = OutputStateEvent(
            utc=datetime.now(UTC),
            output=output,
            state=state,
            cause=trouble.cause,
            reason=trouble.reason,
            since=trouble.since,
            lost=trouble.lost.total(),
        )
        with self._lock:
            self._changes.append(event)


class DegradingSink(Sink):
    """Passes everything to a sink; while that fails it is tried again after growing pauses.

    Args:
        inner: the sink; closed with this one.
        health: gets what happens.
    """

    def __init__(self, inner: Sink, health: OutputHealth) -> None:
        self.needs = inner.needs
        self.output = inner.output or type(inner).__name__
        self._inner = inner
        self._health = health
        self._trouble: _Trouble | None = None
        self._pause = FIRST_PAUSE
        self._calm_at = 0.0
        # What the sink writes: losses are counted of that, and it shows that the sink works again.
        kind = type(inner)
        self._enriches = kind.enrich is not Sink.enrich
        self._frames = inner.needs == "all"
        self._events = not self._frames and kind.event is not Sink.event

    def count_in(self, metrics: Metrics) -> None:
        self._inner.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        self._attempt("frame", lambda: self._inner.write(result), content=self._frames)

    def enrich(self, event: Event) -> Event:
        done = [event]

        def enrich() -> None:
            done[0] = self._inner.enrich(event)

        if self._enriches:
            picture = isinstance(event, Left) and event.image is not None
            self._attempt("picture", enrich, content=picture)
        return done[0]

    def event(self, event: Event) -> None:
        if self._trouble is None or not self._is_about_this(event):
            # Sinks of frames follow the states of the sources: they get every event.
            self._attempt(
                "event",
                lambda: self._inner.event(event),
                content=self._events,
                always=not self._events,
            )

    def source_ended(self, source: str) -> None:
        self._attempt("frame", lambda: self._inner.source_ended(source), content=False, always=True)

    def idle(self) -> None:
        self._attempt("frame", self._inner.idle, content=False, always=True)

    def close(self) -> None:
        self._attempt("frame", self._inner.close, content=False, always=True)

    def _is_about_this(self, event: Event) -> bool:
        return isinstance(event, OutputStateEvent) and event.output == self.output

    def _attempt(
        self, item: Item, call: Callable[[], None], *, content: bool, always: bool = False
    ) -> None:
        """Make a call, unless the pause after an error is not over.

        Args:
            item: what is lost when ``content`` is not written.
            content: the call writes something: when it succeeds, the sink works again.
            always: also during a pause.
        """
        trouble, now = self._trouble, self._health.clock()
        if trouble is not None and now < trouble.retry_at and not always:
            if content:
                self._health.lose(self.output, trouble, item)
            return
        try:
            works = trouble is not None and not always and self._inner.check()
            call()
        except OutputClosed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this output's alone
            self._failed(error, now)
            lost = content + (error.lost if isinstance(error, OutputError) else 0)
            if lost and self._trouble is not None:
                self._health.lose(self.output, self._trouble, item, lost)
            return
        if trouble is not None and (works or content):
            self._trouble = None
            self._calm_at = now + CALM_SECONDS
            self._health.recovered(self.output, trouble)

    def _failed(self, error: Exception, now: float) -> None:
        log.debug("%s", self.output, exc_info=error)
        first = self._trouble is None
        if first:
            self._pause = FIRST_PAUSE if now >= self._calm_at else self._pause
            self._trouble = _Trouble("failed", "", datetime.now(UTC))
        assert self._trouble is not None
        self._trouble.cause = cause_of(error)
        self._trouble.reason = _in_words(self.output, error)
        self._trouble.retry_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._health.failed(self.output, self._trouble, first=first)


def degrading(sink: Sink, health: OutputHealth) -> Sink:
    """The sink, so that its errors no longer end the run; in it those that it owns."""
    if isinstance(sink, (SourcesSink, BackgroundSink)):
        sink.inner = degrading(sink.inner, health)
        return sink
    return sink if sink.on_error == "raise" else DegradingSink(sink, health)


def cause_of(error: BaseException | None) -> OutputCause:
    """The class of an error, by the error of the system behind it."""
    while error is not None:
        number = getattr(error, "errno", None)
        for cause, numbers in _CAUSES.items():
            if number in numbers:
                return cause
        error = error.__cause__ or error.__context__
    return "failed"


def _in_words(output: str, error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.startswith("cannot ") else f"{output}: {type(error).__name__}: {text}"
