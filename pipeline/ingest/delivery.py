"""From a source's pictures to the frames in its buffer, over all its connections."""

from __future__ import annotations

import threading
import time

from ..core.types import Frame, LazyFrame
from ..metrics import FRAMES_IN, FRAMES_SKIPPED, Metrics
from ..runtime.source_queue import SourceBuffer, SourceQueue
from ..sources import Source, SourceOptions
from ..sources.clock import LiveClock
from ..sources.decode import Picture
from .file_reader import SourceState
from .frozen import FrozenDetector
from .pacer import Pacer
from .session import How, Session


class Delivery:
    """Numbers, times and delivers the frames of one source; its sessions' threads call `read`.

    Only the frames of the session that was welcomed last count: one that was given up may still
    deliver something when its native call returns.

    Args:
        state: gets the counts.
        queue: where the buffer is opened, with the first frame.
        metrics: counts the frames.
        options: ``max_frames`` and ``every`` count here, over all connections.
        frozen_after: see `FrozenDetector`.
        buffer_frames: frames that may wait when the source proves to be a file.
    """

    def __init__(
        self,
        state: SourceState,
        queue: SourceQueue[Frame | LazyFrame],
        metrics: Metrics,
        *,
        options: SourceOptions,
        frozen_after: float,
        buffer_frames: int | None,
    ) -> None:
        self._state = state
        self._queue = queue
        self._metrics = metrics
        self._options = options
        self._frozen_after = frozen_after
        self._buffer_frames = buffer_frames
        self._clock = LiveClock()
        self._index = 0
        self._corrupt = 0  # of the connections before this one
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._welcome: Session | None = None
        self._closed = False

    @property
    def file_like(self) -> bool:
        """It proved to be a file, and frames of it were delivered."""
        buffer = self._state.buffer
        return buffer is not None and not buffer.live

    def welcome(self, session: Session | None) -> None:
        """From now on the frames of this session count, and of no other."""
        with self._lock:
            self._welcome = session
            self._clock.reconnected()
            self._count_corrupt()
            self._corrupt, self._source = self._state.corrupt, None

    def close(self) -> None:
        """No more frames; those that wait are still handed on."""
        with self._lock:
            self._closed = True
            buffer = self._state.buffer
        if buffer is not None:
            buffer.close()

    def read(self, session: Session, source: Source) -> How:
        """Everything that the source gives.

        Raises:
            SourceError: it broke off.
            Closed: nobody wants frames any more.
        """
        return self._live(session, source) if source.live else self._file(session, source)

    def _live(self, session: Session, source: Source) -> How:
        frozen = FrozenDetector(self._frozen_after)
        pacer = Pacer() if source.bursts else None
        for picture in source.pictures():
            if pacer is not None:
                session.halt.wait(pacer.wait(picture.time, time.monotonic()))
            now = time.monotonic()
            with self._lock:
                if session is not self._welcome:
                    return "broken"
                self._source = source
                self._put_newest(picture, now, source.info.period)
                self._count_corrupt()
                if self._index == self._options.max_frames:
                    return "complete"
            session.saw_frame(now, frozen=frozen.look(picture.sample, now))
        # A recorder that plays a clip over RTSP says how long it is; a camera does not.
        return "complete" if source.whole else "broken"

    def _put_newest(self, picture: Picture, now: float, period: float | None) -> None:
        buffer = self._buffer(live=True)
        name = self._state.name
        pts = self._clock.stamp(picture.time, now, period=period)
        index, self._index = self._index, self._index + 1
        self._state.seconds = pts
        self._metrics.add(FRAMES_IN, source=name)
        if index % self._options.every:
            self._state.skipped += 1
            self._metrics.add(FRAMES_SKIPPED, source=name)
        else:
            # Counted first: who takes the frame may be quicker than we are.
            self._state.read += 1
            buffer.put(LazyFrame(name, index, pts, time.time(), now, picture.image))

    def _file(self, session: Session, source: Source) -> How:
        with self._lock:
            if session is not self._welcome:
                return "broken"
            buffer = self._buffer(live=False)
        state = self._state
        most = self._options.max_frames
        if most is not None:
            most = -(-most // self._options.every) * self._options.every  # the next that is wanted
        try:
            for frame in source:
                if frame.index == most:
                    break
                session.busy = True
                session.saw_frame(time.monotonic())
                state.read += 1
                state.seconds = frame.pts
                self._metrics.add(FRAMES_IN, source=state.name)
                buffer.put(frame)
                state.count_skipped(source, self._metrics)
                session.saw_frame(time.monotonic())
                session.busy = False
        finally:
            state.count_skipped(source, self._metrics)
            state.corrupt = source.corrupt
            state.problems += source.problems
        return "broken" if session.halt.is_set() else "complete"

    def _count_corrupt(self) -> None:
        if self._source is not None:
            self._state.corrupt = self._corrupt + self._source.corrupt

    def _buffer(self, *, live: bool) -> SourceBuffer[Frame | LazyFrame]:
        if self._state.buffer is None:
            capacity = None if live else self._buffer_frames
            self._state.buffer = self._queue.open(self._state.name, live=live, capacity=capacity)
            if self._closed:
                self._state.buffer.close()
        return self._state.buffer
