"""Counts a run while it goes on, for the progress bar and for the report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .inbox import LaneStats
from .metrics import FACES, FRAME_AGE, FRAMES_OUT, Metrics, peak_memory_bytes
from .reader import SourceState
from .report import Progress, Report, queue_reports, stage_reports
from .types import FrameResult


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

    def progress(self, states: Sequence[SourceState], lanes: Sequence[LaneStats]) -> Progress:
        """Where the run is now."""
        expected = [s.expected for s in states if not s.problems or s.opened]
        known = expected and all(count is not None for count in expected)
        frames = self._frames()
        seconds = self._seconds()
        return Progress(
            frames=frames,
            total=sum(count or 0 for count in expected) if known else None,
            faces=self._faces,
            dropped=sum(_dropped(lanes).values()),
            fps=frames / seconds if seconds > 0 else 0.0,
            queues={queue.name: queue.depth for queue in self._metrics.queues()},
            source=self._source,
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
        return Report(
            sources=tuple(state.report() for state in states),
            frames=frames,
            faces=self._faces,
            embedded=embedded,
            sightings=self.sightings,
            dropped=_dropped(lanes),
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

    def _frames(self) -> int:
        return int(self._metrics.value(FRAMES_OUT))

    def _seconds(self) -> float:
        if self._started is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._started


def _dropped(lanes: Sequence[LaneStats]) -> dict[str, int]:
    """Frames lost before compute was spent on them, by cause."""
    dropped: dict[str, int] = {}
    for lane in lanes:
        for cause, count in lane.dropped.items():
            dropped[cause] = dropped.get(cause, 0) + count
    return dropped
