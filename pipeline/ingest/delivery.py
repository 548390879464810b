"""From a live source's pictures to the frames in its buffer, over all its connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..core.types import Frame, LazyFrame
from ..metrics.families import FRAMES_IN, FRAMES_SKIPPED
from ..metrics.store import Metrics
from ..runtime.source_queue import SourceBuffer, SourceQueue
from ..sources import Picture, Source, SourceOptions
from ..sources.clock import LiveClock
from .connection import Outcome, Session
from .file_reader import SourceState, expected_frames

# A stream that is later than this, or whose clock jumps further, sets a new pace; in seconds.
_LATE = 1.0
_JUMP = 10.0
_COMPARE_EVERY = 0.5  # seconds between two comparisons of neighbouring pictures
# Coding alone moved values of a still portrait by at most 5 of 255 (x264, crf 23).
_CODING_NOISE = 8
# Of a still portrait with a key frame every 10 frames, half equalled the picture before.
_MIN_EQUAL = 0.1


class Delivery:
    """Numbers, times and delivers the frames of one source; its sessions' threads call `read`.

    Only the frames of the current session count: an abandoned one may still deliver frames when
    its native call returns.

    Args:
        queue: where the source's buffer is opened, with the first frame.
        options: ``max_frames`` and ``every`` count here, over all connections.
        buffer_frames: frames that may wait if the source proves to be a file.
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
        self._current: Session | None = None
        self._closed = False

    @property
    def file_like(self) -> bool:
        """It proved to be a file, and frames of it were delivered."""
        buffer = self._state.buffer
        return buffer is not None and not buffer.live

    def switch_to(self, session: Session | None) -> None:
        """Deliver only the frames of this session."""
        with self._lock:
            self._current = session
            self._clock.reconnected()
            self._count_corrupt()
            self._corrupt, self._source = self._state.corrupt, None

    def close(self) -> None:
        """No more frames; those that wait are still processed."""
        with self._lock:
            self._closed = True
            buffer = self._state.buffer
        if buffer is not None:
            buffer.close()

    def read(self, session: Session, source: Source) -> Outcome:
        """Deliver all frames of the source.

        Raises:
            SourceError: it broke off.
            Closed: the run has ended.
        """
        return self._live(session, source) if source.live else self._file(session, source)

    def _live(self, session: Session, source: Source) -> Outcome:
        frozen = FrozenDetector(self._frozen_after)
        pacer = Pacer() if source.bursts else None
        session.progress.interval = source.info.period or 0.0
        for picture in source.pictures():
            if pacer is not None:
                session.halt.wait(pacer.wait(picture.time, time.monotonic()))
            now = time.monotonic()
            with self._lock:
                if session is not self._current:
                    return "broken"
                self._source = source
                self._put_newest(picture, now, source.info.period)
                self._count_corrupt()
                if self._index == self._options.max_frames:
                    return "complete"
            session.saw_frame(now, frozen=frozen.update(picture.sample, now))
        # A recorder that plays a clip over RTSP says how long it is; a camera does not.
        return "complete" if source.whole else "broken"

    def _put_newest(self, picture: Picture, now: float, period: float | None) -> None:
        buffer, name = self._open_buffer(live=True), self._state.name
        pts = self._clock.stamp(picture.time, now, period=period)
        index, self._index = self._index, self._index + 1
        self._state.seconds = pts
        self._metrics.add(FRAMES_IN, source=name)
        if index % self._options.every:
            self._state.skipped += 1
            self._metrics.add(FRAMES_SKIPPED, source=name)
        else:
            # Counted first: the frame may be processed before this thread continues.
            self._state.read += 1
            buffer.put(LazyFrame(name, index, pts, time.time(), now, picture.image))

    def _file(self, session: Session, source: Source) -> Outcome:
        with self._lock:
            if session is not self._current:
                return "broken"
            self._open_buffer(live=False)
        self._state.expected = expected_frames(source, self._options)
        self._state.deliver(source, self._file_frames(session, source), self._metrics)
        return "broken" if session.halt.is_set() else "complete"

    def _file_frames(self, session: Session, source: Source) -> Iterator[Frame]:
        every, end = self._options.every, self._options.max_frames
        if end is not None:
            end = -(-end // every) * every  # the next frame to be delivered
        for frame in source:
            if frame.index == end:
                return
            session.progress.busy = True
            session.saw_frame(time.monotonic())
            yield frame
            session.saw_frame(time.monotonic())
            session.progress.busy = False

    def _count_corrupt(self) -> None:
        if self._source is not None:
            self._state.corrupt = self._corrupt + self._source.corrupt

    def _open_buffer(self, *, live: bool) -> SourceBuffer[Frame | LazyFrame]:
        if self._state.buffer is None:
            capacity = None if live else self._buffer_frames
            self._state.buffer = self._queue.open(self._state.name, live=live, capacity=capacity)
            if self._closed:
                self._state.buffer.close()
        return self._state.buffer


class Pacer:
    """How long to hold a frame back so that frames arrive at the pace at which they were taken.

    HLS arrives in segments: six seconds of frames at once, then nothing for as long. A buffer that
    keeps the newest frame would lose nearly all of them.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._offset = 0.0  # of our clock against the stream's

    def wait(self, time: float | None, now: float) -> float:
        """Seconds until this frame is due.

        Args:
            time: of the frame on the stream's clock in seconds; None is due at once.
            now: on our monotonic clock in seconds.
        """
        if time is None:
            return 0.0
        jumped = self._last is None or not 0 <= time - self._last <= _JUMP
        self._last = time
        if jumped or now - time - self._offset > _LATE:
            # A new pace: after a jump, or after a part that the network held back.
            self._offset = now - time
        return max(0.0, time + self._offset - now)


class FrozenDetector:
    """Detects a camera that sends the same picture all the time.

    A working sensor is noisy: two pictures of a quiet room are hardly ever equal. A camera that
    hangs encodes one picture again and again: values move by a few steps at each key frame, and
    pictures in between are equal to the bit. Neighbours are compared about twice a second.

    Args:
        after: seconds of the same picture from which it counts as frozen.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._compare_every = min(_COMPARE_EVERY, after / 4)
        self._compared: float | None = None
        self._first: NDArray[np.int16] | None = None  # how it was when it became still
        self._since = 0.0
        self._pairs = 0
        self._equal = 0
        self._before: bytes | None = None  # of the frame before, to compare the next with
        self.frozen = False

    def update(self, sample: Callable[[], bytes], now: float) -> bool:
        """True while the picture has been the same for so long.

        Args:
            sample: gives bytes of the newest picture; called only when they are compared.
            now: seconds on a monotonic clock.
        """
        if self._before is not None:
            self._equal += sample() == self._before
            self._pairs += 1
            self._before = None
            return self.frozen
        # A frozen picture is compared each time: a change is noticed at once.
        waiting = self._compared is not None and now - self._compared < self._compare_every
        if waiting and not self.frozen:
            return False
        self._compared = now
        found = sample()
        if not self._still(np.frombuffer(found, np.uint8).astype(np.int16)):
            self._since, self._pairs, self._equal = now, 0, 0
        self._before = None if self.frozen else found
        enough = self._equal > 0 and self._equal >= _MIN_EQUAL * self._pairs
        self.frozen = now - self._since >= self._after and enough
        return self.frozen

    def _still(self, found: NDArray[np.int16]) -> bool:
        first = self._first
        if first is None or first.size != found.size:
            changed = True
        else:
            changed = np.abs(found - first).max(initial=0) > _CODING_NOISE
        if changed:
            self._first = found
        return not changed
