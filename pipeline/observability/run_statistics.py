"""Counts a run while it goes on, for the progress bar and for the report.

A progress line costs the same for one file as for thousands; a report costs the same per source.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from ..core.events import Event, Left
from ..core.types import FrameResult
from ..ingest.file_reader import SourceState
from ..metrics.families import (
    BATCH_FRAMES,
    FACES,
    FACES_LEFT_OUT,
    FRAME_AGE,
    FRAMES_DROPPED,
    FRAMES_OUT,
    FRAMES_SKIPPED,
    STAGE_SECONDS,
)
from ..metrics.store import Metrics, peak_memory_bytes
from .report import (
    AgeReport,
    OutputReport,
    Progress,
    QueueReport,
    Report,
    SourceReport,
    StageReport,
    limiting_queue,
)


class RunStatistics:
    """The results of a run so far. The consumer's thread counts, any thread reads."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = time.monotonic()
        self._started: float | None = None
        self._ended: float | None = None
        self._first_result: float | None = None
        self._source: str | None = None
        self._faces = 0
        self._states: Sequence[SourceState] = ()
        self._live: list[SourceState] = []
        self._lock = threading.Lock()
        self._done = 0  # the sources before this one have ended
        self._expected = 0  # frames that those should have had
        self._unknown = False  # one of those does not say
        self.sightings = 0
        self.interrupted = False

    def start(self, states: Sequence[SourceState]) -> None:
        """The sources start now; the time before was spent on loading."""
        self._states = states
        self._live = [state for state in states if state.live]
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
        """An event was emitted."""
        self.sightings += isinstance(event, Left)

    def progress(self, *, dropped: int) -> Progress:
        """The run so far; ``dropped`` is the number of frames that the source queue dropped."""
        frames, fps = self._frames_and_fps()
        ages = {state.name: self._age(state) for state in self._live}
        return Progress(
            frames=frames,
            total=self._total(),
            faces=self._faces,
            dropped=dropped + int(self._metrics.value(FRAMES_DROPPED)),
            fps=fps,
            queues={queue.name: queue.depth for queue in self._metrics.queues()},
            source=self._source,
            ages={name: age for name, age in sorted(ages.items()) if age is not None},
            states={state.name: state.state for state in self._live if state.state is not None},
            files=(len(self._states) - len(self._live), 0 if self._live else self._done),
        )

    def report(
        self, *, embedded: int, backends: dict[str, str], outputs: tuple[OutputReport, ...] = ()
    ) -> Report:
        """The run as far as it went."""
        frames, fps = self._frames_and_fps()
        queues = self._metrics.queues()
        limiting = limiting_queue(queues)
        by_source = self._metrics.dropped()
        dropped: Counter[str] = Counter()
        for causes in by_source.values():
            dropped.update(causes)
        batches = self._metrics.distributions(BATCH_FRAMES)
        return Report(
            sources=tuple(
                self._source_report(state, by_source.get(state.name, {})) for state in self._states
            ),
            frames=frames,
            skipped=int(self._metrics.value(FRAMES_SKIPPED)),
            faces=self._faces,
            embedded=embedded,
            sightings=self.sightings,
            dropped=dict(dropped),
            seconds=self._seconds(),
            fps=fps,
            first_result_seconds=self._first_result,
            stages={
                labels[0]: StageReport(time.total, time.count, round(batches[labels].total))
                for labels, time in self._metrics.distributions(STAGE_SECONDS).items()
            },
            queues={
                q.name: QueueReport(
                    q.capacity, q.depth, q.high_water, q.blocked_seconds, q.waited_seconds
                )
                for q in queues
            },
            limiting_queue=limiting.name if limiting else None,
            peak_memory_bytes=peak_memory_bytes(),
            backends=backends,
            interrupted=self.interrupted,
            outputs=outputs,
        )

    def _source_report(self, state: SourceState, dropped: Mapping[str, int]) -> SourceReport:
        name, value = state.name, self._metrics.value
        skipped = int(value(FRAMES_SKIPPED, source=name))
        return SourceReport(
            name=name,
            frames=int(value(FRAMES_OUT, source=name)) + skipped,
            expected=state.expected,
            corrupt=state.corrupt,
            seconds=state.seconds,
            opened=state.opened,
            problem="; ".join(state.problems) or None,
            skipped=skipped,
            dropped=dropped,
            state=state.state,
            restarts=state.restarts,
            age=self._age(state),
            left_out={
                cause: round(faces)
                for (source, cause), faces in self._metrics.values(FACES_LEFT_OUT).items()
                if source == name
            },
        )

    def _age(self, state: SourceState) -> AgeReport | None:
        """Of the frames of a live source; None before the first, and of a file."""
        live = state.buffer is not None and state.buffer.live
        ages = self._metrics.distribution(FRAME_AGE, source=state.name) if live else None
        if ages is None:
            return None
        p50, p95, p99 = (round(ages.quantile(q), 4) for q in (0.5, 0.95, 0.99))
        return AgeReport(p50, p95, p99, round(ages.largest, 4))

    def _total(self) -> int | None:
        """Frames expected of all sources; None where one does not say (yet).

        Files are read one after another: those that have ended are added up once, and the first
        that is not open yet ends the search.
        """
        states = self._states
        with self._lock:
            while self._done < len(states) and states[self._done].done:
                state = states[self._done]
                self._done += 1
                if state.opened or not state.problems:
                    self._unknown |= state.expected is None
                    self._expected += state.expected or 0
            done, total = self._done, self._expected
        if self._unknown:
            return None
        for number in range(done, len(states)):
            state = states[number]
            if state.opened or not state.problems:
                if state.expected is None:
                    return None
                total += state.expected
        return total or None

    def _frames_and_fps(self) -> tuple[int, float]:
        """Frames that came out or were skipped by design, and per second."""
        frames = int(self._metrics.value(FRAMES_OUT) + self._metrics.value(FRAMES_SKIPPED))
        seconds = self._seconds()
        return frames, frames / seconds if seconds > 0 else 0.0

    def _seconds(self) -> float:
        if self._started is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._started
