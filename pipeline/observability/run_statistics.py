"""Counts a run while it goes on, for the progress bar and for the report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..core.events import Event, Left
from ..core.types import FrameResult
from ..ingest.file_reader import SourceState
from ..metrics import (
    FACES,
    FRAME_AGE,
    FRAMES_OUT,
    FRAMES_SKIPPED,
    Metrics,
    peak_memory_bytes,
)
from ..runtime.source_queue import LaneStats
from .report import (
    Progress,
    Report,
    SourceReport,
    age_report,
    queue_reports,
    stage_reports,
)


class Tally:
    """What came out of a run so far. The consumer's thread counts, any thread reads."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = time.monotonic()
        self._started: float | None = None
        self._ended: float | None = None
        self._first_result: float | None = None
        self._source: str | None = None
        self._faces = 0
        self.sightings = 0
        self.interrupted = False

    def start(self) -> None:
        """The sources begin now; what was before is loading."""
        self._started = time.monotonic()

    def end(self, *, interrupted: bool) -> None:
        """The last result is out."""
        self._ended = time.monotonic()
        self.interrupted = interrupted

    def count(self, result: FrameResult) -> None:
        """A frame is finished."""
        now = time.monotonic()
        if self._first_result is None:
            self._first_result = now - self._began
        frame = result.frame
        self._faces += len(result.faces)
        self._source = frame.source
        self._metrics.add(FRAMES_OUT, source=frame.source)
        self._metrics.add(FACES, len(result.faces), source=frame.source)
        self._metrics.observe(FRAME_AGE, now - frame.captured_at, source=frame.source)

    def event(self, event: Event) -> None:
        """Something happened."""
        self.sightings += isinstance(event, Left)

    def progress(self, states: Sequence[SourceState], lanes: Sequence[LaneStats]) -> Progress:
        """Where the run is now."""
        expected = [s.expected for s in states if not s.problems or s.opened]
        known = expected and all(count is not None for count in expected)
        frames = self._frames()
        seconds = self._seconds()
        ages = {name: age_report(self._metrics, name) for name in sorted(_live(lanes))}
        return Progress(
            frames=frames,
            total=sum(count or 0 for count in expected) if known else None,
            faces=self._faces,
            dropped=sum(self._metrics.dropped().values()),
            fps=frames / seconds if seconds > 0 else 0.0,
            queues={queue.name: queue.depth for queue in self._metrics.queues()},
            source=self._source,
            ages={name: age for name, age in ages.items() if age is not None},
            states={s.name: s.state for s in states if s.state is not None},
        )

    def report(
        self,
        states: Sequence[SourceState],
        lanes: Sequence[LaneStats],
        *,
        embedded: int,
        backends: dict[str, str],
    ) -> Report:
        """The run as far as it went."""
        frames = self._frames()
        seconds = self._seconds()
        queues, slowest = queue_reports(self._metrics)
        live = _live(lanes)
        return Report(
            sources=tuple(self._source_report(state, live) for state in states),
            frames=frames,
            skipped=int(self._metrics.value(FRAMES_SKIPPED)),
            faces=self._faces,
            embedded=embedded,
            sightings=self.sightings,
            dropped=self._metrics.dropped(),
            seconds=seconds,
            fps=frames / seconds if seconds > 0 else 0.0,
            first_result_seconds=self._first_result,
            stages=stage_reports(self._metrics),
            queues=queues,
            limiting_queue=slowest,
            peak_memory_bytes=peak_memory_bytes(),
            backends=backends,
            interrupted=self.interrupted,
        )

    def _source_report(self, state: SourceState, live: set[str]) -> SourceReport:
        name = state.name
        return SourceReport(
            name=name,
            frames=self._frames(name),
            expected=state.expected,
            corrupt=state.corrupt,
            seconds=state.seconds,
            opened=state.opened,
            problem="; ".join(state.problems) or None,
            skipped=int(self._metrics.value(FRAMES_SKIPPED, source=name)),
            dropped=self._metrics.dropped(source=name),
            state=state.state,
            restarts=state.restarts,
            age=age_report(self._metrics, name) if name in live else None,
        )

    def _frames(self, source: str | None = None) -> int:
        """Frames dealt with: those that came out and those that were passed over by design."""
        which = {} if source is None else {"source": source}
        return int(
            self._metrics.value(FRAMES_OUT, **which) + self._metrics.value(FRAMES_SKIPPED, **which)
        )

    def _seconds(self) -> float:
        if self._started is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._started


def _live(lanes: Sequence[LaneStats]) -> set[str]:
    return {lane.name for lane in lanes if lane.live}
