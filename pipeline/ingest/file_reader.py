"""The thread that reads files into the queue, and the state of each source."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from ..core.errors import Closed, SourceError
from ..core.events import State
from ..core.types import Frame, LazyFrame
from ..metrics.families import FRAMES_IN, FRAMES_SKIPPED
from ..metrics.store import Metrics
from ..runtime.source_queue import SourceBuffer, SourceQueue
from ..sources import Source, SourceOpener, SourceOptions, SourceSpec, open_source
from .isolation import SourceIsolation
from .watched_folder import WatchedFolder

log = logging.getLogger(__name__)

_FILES_AT_ONCE = 2  # whose frames wait


@dataclass(slots=True)
class SourceState:
    """Counts and state of a source; written by its reader, read by any thread.

    Attributes:
        name: free of credentials, unique within a run.
        expected: frames in it, skipped ones included, if its container says so.
        read: frames delivered to the queue.
        skipped: frames decoded and not delivered (``SourceOptions.every``).
        processed: frames that left the last stage.
        lost: frames that a stage left out.
        corrupt: damaged packets, frames or pictures.
        seconds: presentation time of the last frame.
        opened: it could be opened at all.
        complete: its reader reached its end, or cannot read (on) at all; it was not stopped.
        state: of a live source, as in its events; None for files.
        live: it is read by a `LiveReader`.
        restarts: times a live source was opened again.
        buffer: where its frames wait.
        failure: why it was parked: its frames cannot be processed.
        problems: a line each.
    """

    name: str
    expected: int | None = None
    read: int = 0
    skipped: int = 0
    processed: int = 0
    lost: int = 0
    corrupt: int = 0
    seconds: float = 0.0
    opened: bool = False
    done: bool = False
    complete: bool = False
    state: State | None = None
    live: bool = False
    restarts: int = 0
    buffer: SourceBuffer[Frame | LazyFrame] | None = None
    failure: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Read to its end, and every frame that was taken from its buffer is dealt with."""
        if not self.done:
            return False
        buffer = self.buffer
        return buffer is None or (buffer.ended and self.processed + self.lost >= buffer.taken)

    def park(self, reason: str) -> None:
        """Give the source up: what waits is dropped, and its reader ends."""
        self.failure = reason
        self.problems.append(f"{self.name}: {reason}")
        if self.buffer is not None:
            self.buffer.close(discard=True)

    def deliver(self, source: Source, frames: Iterable[Frame], metrics: Metrics) -> None:
        """Put the frames of a file into the buffer, and count them.

        Raises:
            Closed: the buffer was closed.
            SourceError: the source broke off.
        """
        if self.buffer is None:
            raise RuntimeError(f"source {self.name} has no buffer")
        try:
            for frame in frames:
                # A source of another package may not know its name in this run.
                known = frame.source == self.name
                self.buffer.put(frame if known else replace(frame, source=self.name))
                self.read += 1
                self.seconds = frame.pts
                metrics.add(FRAMES_IN, source=self.name)
                self._count_skipped(source, metrics)
        finally:
            self._count_skipped(source, metrics)
            self.corrupt = source.corrupt
            self.problems += source.problems

    def _count_skipped(self, source: Source, metrics: Metrics) -> None:
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


class Reader:
    """Reads sources one after another into buffers of the queue.

    Files share one reader: the next file is opened while the last frames of the one before are
    processed, and no further ones: a thousand short clips would all wait in memory. A source that
    cannot be opened or read is noted in its state; the others go on.

    Args:
        buffer_frames: decoded frames that may wait per source.
        options: how a source of this name is read.
        isolation: counts errors of one source; without it they end the run.
        watched: a folder whose files are read after the sources, until the reader is stopped.
        on_new: gets the state of each file of that folder before it is read.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        queue: SourceQueue[Frame | LazyFrame],
        metrics: Metrics,
        *,
        buffer_frames: int,
        options: Callable[[str], SourceOptions],
        opener: SourceOpener = open_source,
        isolation: SourceIsolation | None = None,
        watched: WatchedFolder | None = None,
        on_new: Callable[[SourceState], None] = lambda _: None,
    ) -> None:
        self.states = [SourceState(spec.name) for spec in specs]
        self._watched = watched
        self._on_new = on_new
        self._isolation = isolation or SourceIsolation()
        self._specs = specs
        self._queue = queue
        self._metrics = metrics
        self._buffer_frames = buffer_frames
        self._opener = opener
        self._stopping = threading.Event()
        self._options = options
        self._current: Source | None = None

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        self._stopping.set()
        source = self._current
        if source is not None:
            source.stop()

    def run(self) -> None:
        """Read everything; returns when all sources are done."""
        waiting: deque[SourceBuffer[Frame | LazyFrame]] = deque()
        for spec, state in self._sources():
            if len(waiting) == _FILES_AT_ONCE:
                waiting.popleft().wait_until_ended()
            if self._stopping.is_set():
                break
            options = replace(self._options(spec.name), halt=self._stopping)
            try:
                with self._opener(spec, options) as source:
                    state.expected = expected_frames(source, options)
                    self._read(source, state)
            except Closed:
                break  # the run was aborted
            except SourceError as error:
                if str(error) not in state.problems and not self._stopping.is_set():
                    log.warning("%s", error)
                    state.problems.append(str(error))
            except Exception as error:  # noqa: BLE001 - the isolation raises what is fatal
                text = self._isolation.failed(state.name, "decode", error, logger=log)
                state.problems.append(f"{state.name}: {text}")
            finally:
                self._current = None
                state.complete = not self._stopping.is_set()
                state.done = True
                if state.buffer is not None:
                    waiting.append(state.buffer)

    def _sources(self) -> Iterator[tuple[SourceSpec, SourceState]]:
        yield from zip(self._specs, self.states, strict=True)
        if self._watched is not None:
            for spec in self._watched.files(self._stopping):
                state = SourceState(spec.name)
                self._on_new(state)
                yield spec, state

    def _read(self, source: Source, state: SourceState) -> None:
        state.opened = True
        self._current = source
        if self._stopping.is_set():
            return
        # A live buffer keeps only the newest frame, a file's a few.
        capacity = None if source.live else self._buffer_frames
        state.buffer = self._queue.open(state.name, live=source.live, capacity=capacity)
        try:
            frames = takewhile(lambda _: not self._stopping.is_set(), source)
            state.deliver(source, frames, self._metrics)
        except Closed:
            return  # the source was parked, or the run aborted
        finally:
            state.buffer.close()
