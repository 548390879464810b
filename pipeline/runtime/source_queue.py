"""Where decoded frames wait for compute: a buffer per source, each with a fair share of the time.

This is the one place that drops frames, before compute is spent on them. In a single queue that
drops its oldest entry, two cameras at 200 fps starve four at 10 fps (0 to 9 of their 20 frames).
Shares are of time, not of frames (`fair_share.py`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..core.errors import Closed
from .channel import BatchQueue, QueueStats, State
from .fair_share import Share, costly, next_of

T = TypeVar("T")

SORT_SECONDS = 0.5
"""Least time between two decisions which sources are costly."""

IN_FLIGHT = 2
"""Frames of a live source that were taken and are not dealt with, at most: one for each worker."""

LOOK_AGAIN = 0.1
"""Seconds after which a lane looks again which sources may be served."""

SUPERSEDED = "superseded"
"""Cause of a drop: a newer frame of the same live source came before this one was taken."""
DISCARDED = "discarded"
"""Cause of a drop: the run was aborted, or the source parked."""


@dataclass(frozen=True, slots=True)
class BufferStats:
    """Counters of one source.

    Attributes:
        live: it drops its oldest frame instead of blocking.
        depth: frames that wait now.
        accepted: frames put in so far.
        taken: frames delivered so far.
        dropped: frames lost, by cause; ``accepted == taken + depth + sum(dropped)``.
        blocked_seconds: time the source waited for room.
    """

    name: str
    live: bool
    depth: int
    accepted: int
    taken: int
    dropped: dict[str, int]
    blocked_seconds: float


class SourceBuffer(Generic[T]):
    """The frames of one source that wait in a `SourceQueue`; made by `SourceQueue.open`."""

    def __init__(self, queue: SourceQueue[T], name: str, *, live: bool, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of source '{name}' must be at least 1, not {capacity}")
        self.name = name
        self.live = live
        self.capacity = capacity
        self._queue = queue
        self._items: deque[T] = deque()
        self._not_full = threading.Condition(queue._lock)
        self._state: State = "open"
        self._accepted = 0
        self._taken = 0
        self._dropped: Counter[str] = Counter()
        self._blocked = 0.0
        self._share = Share()
        self._costly = False  # it is served by the lane of costly sources
        self._busy = False  # a worker has frames of it: it stays in its lane

    def put(self, item: T) -> None:
        """Add a frame. A live source that is full drops its oldest, a file waits for room.

        Raises:
            Closed: the buffer or the queue is closed; the frame was not added.
        """
        with self._queue._lock:
            if not self.live and self._state == "open" and len(self._items) >= self.capacity:
                self._wait(lambda: self._state != "open" or len(self._items) < self.capacity)
            if self._state != "open":
                raise Closed(f"source '{self.name}' is closed")
            if len(self._items) >= self.capacity:
                self._items.popleft()
                self._count_dropped(SUPERSEDED, 1)
            if not self._items:
                self._share.returns(self._queue._clock)
            self._items.append(item)
            self._accepted += 1
            self._queue._added()

    def close(self, discard: bool = False) -> None:
        """End of this source; waiting frames are still delivered unless ``discard``."""
        with self._queue._lock:
            if discard:
                self._count_dropped(DISCARDED, len(self._items))
                self._items.clear()
                self._state = "aborted"
            elif self._state == "open":
                self._state = "draining"
            self._not_full.notify_all()
            self._queue._wake_all()

    def wait_until_ended(self) -> None:
        """Wait until all frames of a closed buffer were taken, or thrown away."""
        with self._queue._lock:
            self._wait(lambda: self.ended)

    @property
    def ended(self) -> bool:
        """True when it is closed and all its frames were taken."""
        return self._state != "open" and not self._items

    @property
    def taken(self) -> int:
        return self._taken

    def stats(self) -> BufferStats:
        with self._queue._lock:
            return BufferStats(
                self.name,
                self.live,
                len(self._items),
                self._accepted,
                self._taken,
                {cause: n for cause, n in self._dropped.items() if n},
                self._blocked,
            )

    def _wait(self, until: Callable[[], bool]) -> None:
        start = time.monotonic()
        self._not_full.wait_for(until)
        waited = time.monotonic() - start
        self._blocked += waited
        self._queue._totals.blocked += waited

    def _take(self) -> T:
        item = self._items.popleft()
        self._taken += 1
        self._not_full.notify()
        return item

    def _count_dropped(self, cause: str, count: int) -> None:
        self._dropped[cause] += count
        self._queue._totals.dropped[cause] += count
        self._queue._totals.depth -= count


class _Totals:
    """Counters of all sources together: a report of thousands of sources must not add them up."""

    __slots__ = ("blocked", "capacity", "depth", "dropped", "high_water", "taken")

    def __init__(self) -> None:
        self.capacity = self.depth = self.high_water = self.taken = 0
        self.dropped: Counter[str] = Counter()
        self.blocked = 0.0


class SourceQueue(BatchQueue[T]):
    """The buffers of all sources. Ends when it is sealed and every buffer is closed and empty.

    The next frame is of the source that had the least time so far (`charge`), of those that have
    one: sources of equal cost are served in turn, and idle time is anybody's. The frames of a
    source keep their order.

    One thread takes the batches, or the two lanes of `lanes` do.
    """

    def __init__(self, name: str = "inbox") -> None:
        super().__init__(name, threading.RLock())  # a buffer's close() runs inside close()
        self._buffers: list[SourceBuffer[T]] = []
        self._turn: deque[SourceBuffer[T]] = deque()  # not ended; the next to serve is leftmost
        self._sealed = False
        self._aborted = False
        self._totals = _Totals()
        self._clock = 0.0  # time had by the source that was served last
        self._by_name: dict[str, SourceBuffer[T]] = {}
        self._lanes: tuple[Lane[T], ...] = ()
        self._finished: Callable[[str], int] = lambda name: 0
        self._held: list[SourceBuffer[T]] = []  # of the batch before, without lanes
        self._sorted_at = 0.0

    def lanes(self, finished: Callable[[str], int]) -> tuple[Lane[T], Lane[T]]:
        """Inlets for two workers: of the usual sources, and of those whose frames cost far more.

        A live source has at most `IN_FLIGHT` frames behind the queue: the newest waits here, where
        a newer one replaces it.

        Args:
            finished: how many frames of this source were dealt with in the end; `wake` tells that
                there are more.

        One costly frame then does not delay the others: the system divides the processors between
        the two workers. A source changes its lane only while neither has a frame of it.
        """
        self._finished = finished
        usual, other = Lane(self, costly=False), Lane(self, costly=True)
        self._lanes = (usual, other)
        return usual, other

    def wake(self) -> None:
        """Frames were dealt with; see `lanes`."""
        with self._lock:
            self._wake_all()

    def charge(self, name: str, seconds: float) -> None:
        """Count time spent on frames of this source that were taken."""
        with self._lock:
            buffer = self._by_name.get(name)
            if buffer is not None:
                buffer._share.spent += seconds

    def get_batch(self, max_items: int, max_wait: float, timeout: float | None = None) -> list[T]:
        """See `BatchQueue`; the batch before is done with."""
        self._release(self._held)
        return super().get_batch(max_items, max_wait, timeout)

    def open(self, name: str, *, live: bool, capacity: int | None = None) -> SourceBuffer[T]:
        """A buffer for a source.

        Args:
            live: drop the oldest frame when full (camera) instead of blocking (file).
            capacity: frames that may wait; by default 1 if live (only the newest), else 8.

        Raises:
            Closed: the queue is sealed or closed.
            ValueError: the capacity is below 1.
        """
        with self._lock:
            if self._sealed:
                raise Closed(f"queue '{self.name}' is sealed")
            if capacity is None:
                capacity = 1 if live else 8
            buffer = SourceBuffer(self, name, live=live, capacity=capacity)
            self._buffers.append(buffer)
            self._turn.append(buffer)
            self._by_name[name] = buffer
            self._totals.capacity += capacity
            return buffer

    def seal(self) -> None:
        """No further sources: from now on the queue ends with its last one."""
        with self._lock:
            self._sealed = True
            self._wake_all()

    def close(self, discard: bool = False) -> None:
        """Seal it and close every source; ``discard`` throws waiting frames away."""
        with self._lock:
            self._sealed = True
            self._aborted = self._aborted or discard
            for buffer in self._buffers:
                buffer.close(discard)
            self._wake_all()

    @property
    def aborted(self) -> bool:
        return self._aborted

    @property
    def depth(self) -> int:
        return self._totals.depth

    @property
    def dropped(self) -> int:
        """Frames dropped so far, of all sources and causes."""
        with self._lock:
            return self._totals.dropped.total()

    def source_stats(self) -> list[BufferStats]:
        """The counters of every source, ended ones too."""
        with self._lock:
            return [buffer.stats() for buffer in self._buffers]

    def stats(self) -> QueueStats:
        """All sources as one queue; the cost does not depend on their number."""
        with self._lock:
            totals = self._totals
            return QueueStats(
                self.name,
                totals.capacity,
                totals.depth,
                totals.high_water,
                totals.taken,
                totals.dropped[DISCARDED],
                totals.blocked,
                self._waited + sum(lane._waited for lane in self._lanes[:1]),
                max(1, len(self._buffers)),
            )

    def _added(self) -> None:
        totals = self._totals
        totals.depth += 1
        totals.high_water = max(totals.high_water, totals.depth)
        self._not_empty.notify()
        for lane in self._lanes:
            lane._not_empty.notify()

    def _wake_all(self) -> None:
        for queue in (self, *self._lanes):
            queue._not_empty.notify_all()

    def _ended(self) -> bool:
        return self._aborted or (self._sealed and all(buffer.ended for buffer in self._turn))

    def _take_some(self, max_items: int) -> list[T]:
        return self._take_of(self._turn, max_items, self._held)

    def _take_of(
        self, sources: Iterable[SourceBuffer[T]], max_items: int, held: list[SourceBuffer[T]]
    ) -> list[T]:
        """Frames of these sources, the one with the least time first; noted in ``held``."""
        batch: list[T] = []
        ready = [buffer for buffer in sources if buffer._items]
        while ready and len(batch) < max_items:
            buffer = ready[next_of([one._share for one in ready])]
            self._clock = max(self._clock, buffer._share.had)
            batch.append(buffer._take())
            buffer._share.take()
            buffer._busy = True
            held.append(buffer)
            self._totals.depth -= 1
            self._totals.taken += 1
            self._turn.remove(buffer)
            if buffer.ended:
                self._wake_all()  # it may have been the last one that another worker waits for
            else:
                self._turn.append(buffer)
            # Equal ones are served in turn.
            ready.remove(buffer)
            if buffer._items and not buffer.live:
                ready.append(buffer)
        return batch

    def _release(self, held: list[SourceBuffer[T]]) -> None:
        with self._lock:
            for buffer in held:
                buffer._busy = False
                buffer._share.settle()
            if held:
                self._sorted_at = 0.0  # they may change their lane now
            held.clear()

    def _of_lane(self, wants_costly: bool) -> list[SourceBuffer[T]]:
        """The sources of a lane; those at rest are assigned anew now and then."""
        now = time.monotonic()
        if now - self._sorted_at >= SORT_SECONDS:
            self._sorted_at = now
            verdicts = costly([buffer._share.cost for buffer in self._turn])
            for buffer, verdict in zip(self._turn, verdicts, strict=True):
                if not buffer._busy and buffer._costly != verdict:
                    buffer._costly = verdict
                    self._wake_all()
        return [
            buffer
            for buffer in self._turn
            if buffer._costly == wants_costly
            and not (buffer.live and buffer._taken - self._finished(buffer.name) >= IN_FLIGHT)
        ]


class Lane(BatchQueue[T]):
    """The sources of a `SourceQueue` that one of its two workers serves; see `SourceQueue.lanes`.

    Closing it before the queue has ended aborts the queue.
    """

    def __init__(self, queue: SourceQueue[T], *, costly: bool) -> None:
        super().__init__(queue.name, queue._lock)
        self._queue = queue
        self._costly = costly
        self._held: list[SourceBuffer[T]] = []

    @property
    def depth(self) -> int:
        with self._lock:
            return sum(len(buffer._items) for buffer in self._queue._of_lane(self._costly))

    @property
    def aborted(self) -> bool:
        return self._queue.aborted

    def get_batch(self, max_items: int, max_wait: float, timeout: float | None = None) -> list[T]:
        self._queue._release(self._held)
        return super().get_batch(max_items, max_wait, LOOK_AGAIN if timeout is None else timeout)

    def close(self, discard: bool = False) -> None:
        if not self._queue._ended():
            self._queue.close(discard)

    def _ended(self) -> bool:
        return self._queue._ended()

    def _take_some(self, max_items: int) -> list[T]:
        sources = self._queue._of_lane(self._costly)
        return self._queue._take_of(sources, max_items, self._held)
