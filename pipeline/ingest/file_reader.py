"""The thread that reads files into the inbox, and the state of each source."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core.errors import Closed, SourceError
from ..core.events import State
from ..core.types import Frame, LazyFrame
from ..metrics import FRAMES_IN, FRAMES_SKIPPED, Metrics
from ..runtime.source_queue import Inbox, Lane
from ..sources import Source, SourceOpener, SourceOptions, SourceSpec, open_source

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SourceState:
    """Counts and state of a source; written by its reader, read by any thread.

    Attributes:
        name: free of credentials; unique within a run.
        expected: frames that it should have, skipped ones included, where its container says so.
        read: frames delivered to the inbox.
        skipped: frames decoded and not delivered (``SourceOptions.every``).
        processed: frames that left the last stage.
        corrupt: damaged packets, frames or pictures.
        seconds: presentation time of the last frame.
        opened: it could be opened at all.
        done: its reader has ended.
        state: of a live source, as in its events; None for files.
        restarts: times a live source was opened again.
        lane: where its frames wait.
        problems: what was wrong with it, a line each.
    """

    name: str
    expected: int | None = None
    read: int = 0
    skipped: int = 0
    processed: int = 0
    corrupt: int = 0
    seconds: float = 0.0
    opened: bool = False
    done: bool = False
    state: State | None = None
    restarts: int = 0
    lane: Lane[Frame | LazyFrame] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Read to its end, and all that was read is processed or was dropped."""
        if not self.done:
            return False
        dropped = sum(self.lane.stats().dropped.values()) if self.lane is not None else 0
        return self.processed + dropped >= self.read

    def count_skipped(self, source: Source, metrics: Metrics) -> None:
        """Count the frames that a file has skipped since the last call; they were decoded."""
        more = source.skipped - self.skipped
        if more:
            self.skipped += more
            metrics.add(FRAMES_IN, more, source=self.name)
            metrics.add(FRAMES_SKIPPED, more, source=self.name)


def expected_frames(source: Source, options: SourceOptions) -> int | None:
    """Frames that a file will have, counted as they are reported: delivered and skipped."""
    frames = source.info.frames
    if frames is None or options.max_frames is None:
        return frames
    return min(frames, options.max_frames)


def stamped(frame: Frame, name: str) -> Frame:
    """The frame under the name that its source has in this run, whatever the source says."""
    return frame if frame.source == name else replace(frame, source=name)


def log_unexpected(name: str, error: Exception) -> str:
    """Log an exception that no source should raise; returns it in one line.

    Its text is left out: it may hold a location with credentials.
    """
    problem = f"{name}: unexpected {type(error).__name__} while it was read"
    log.error("%s\n%s", problem, "".join(traceback.format_tb(error.__traceback__)).rstrip())
    return problem


class Reader:
    """Reads sources one after another into lanes of the inbox.

    Files share one reader: the next file is opened while the last frames of the one before are
    still being processed. A source that cannot be opened or read, for whatever reason, is noted in
    its state; the others go on.

    Args:
        specs: what to read.
        inbox: where frames go.
        metrics: counts the frames.
        lane_frames: decoded frames that may wait per source.
        options: how sources are read.
        opener: opens a source.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        inbox: Inbox[Frame | LazyFrame],
        metrics: Metrics,
        *,
        lane_frames: int,
        options: SourceOptions,
        opener: SourceOpener = open_source,
    ) -> None:
        self.states = [SourceState(spec.name) for spec in specs]
        self._specs = specs
        self._inbox = inbox
        self._metrics = metrics
        self._lane_frames = lane_frames
        self._opener = opener
        self._stopping = threading.Event()
        self._options = replace(options, halt=self._stopping)
        self._current: Source | None = None

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        self._stopping.set()
        source = self._current
        if source is not None:
            source.stop()

    def run(self) -> None:
        """Read everything; returns when all sources are done."""
        for spec, state in zip(self._specs, self.states, strict=True):
            if self._stopping.is_set():
                break
            try:
                with self._opener(spec, self._options) as source:
                    self._read(source, state)
            except Closed:
                break  # the run was aborted
            except SourceError as error:
                if str(error) not in state.problems and not self._stopping.is_set():
                    log.warning("%s", error)
                    state.problems.append(str(error))
            except Exception as error:  # noqa: BLE001 - one source does not end the run
                state.problems.append(log_unexpected(state.name, error))
            finally:
                self._current = None
                state.done = True

    def _read(self, source: Source, state: SourceState) -> None:
        state.opened = True
        state.expected = expected_frames(source, self._options)
        self._current = source
        if self._stopping.is_set():
            return
        # A live lane keeps only the newest frame, a file's a few.
        capacity = None if source.live else self._lane_frames
        lane = self._inbox.open(state.name, live=source.live, capacity=capacity)
        state.lane = lane
        try:
            self._deliver(source, lane, state)
        finally:
            lane.close()
            state.count_skipped(source, self._metrics)
            state.corrupt = source.corrupt
            state.problems += source.problems

    def _deliver(self, source: Source, lane: Lane[Frame | LazyFrame], state: SourceState) -> None:
        for frame in source:
            try:
                lane.put(stamped(frame, state.name))
            except Closed:
                return
            state.read += 1
            state.seconds = frame.pts
            self._metrics.add(FRAMES_IN, source=state.name)
            state.count_skipped(source, self._metrics)
            if self._stopping.is_set():
                return
