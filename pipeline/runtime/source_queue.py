"""Where decoded frames wait for compute: a lane per source, served round robin.

This is the one place that drops frames, before compute is spent on them. With a single queue
that drops its oldest entry, two cameras at 200 fps starve four at 10 fps (measured: the slow ones
got 0 to 9 of their 20 frames); with a lane each, every source gets its turn.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..core.errors import Closed
from .channel import QueueStats, State

T = TypeVar("T")

SUPERSEDED = "superseded"
"""Cause of a drop: a newer frame of the same live source came before this one was taken."""
DISCARDED = "discarded"
"""Cause of a drop: the run was aborted."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """Counters of one source's lane.

    Attributes:
        name: the source's name.
        live: it drops its oldest frame instead of blocking.
        depth: frames that wait now.
        accepted: frames put in so far.
        taken: frames handed on so far.
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


class Lane(Generic[T]):
    """One source's queue in an `Inbox`; made by `Inbox.open`."""

    def __init__(self, inbox: Inbox[T], name: str, *, live: bool, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of lane '{name}' must be at least 1, not {capacity}")
        self.name = name
        self.live = live
        self.capacity = capacity
        self._inbox = inbox
        self._items: deque[T] = deque()
        self._not_full = threading.Condition(inbox._lock)
        self._state: State = "open"
        self._accepted = 0
        self._taken = 0
        self._dropped: Counter[str] = Counter()
        self._blocked = 0.0

    def put(self, item: T) -> None:
        """Add a frame. A live lane that is full drops its oldest, a file's lane waits for room.

        Raises:
            Closed: the lane or the inbox is closed; the frame was not added.
        """
        with self._inbox._lock:
            if not self.live and self._state == "open" and len(self._items) >= self.capacity:
                start = time.monotonic()
                self._not_full.wait_for(
                    lambda: self._state != "open" or len(self._items) < self.capacity
                )
                self._blocked += time.monotonic() - start
            if self._state != "open":
                raise Closed(f"lane '{self.name}' is closed")
            if len(self._items) >= self.capacity:
                self._items.popleft()
                self._dropped[SUPERSEDED] += 1
                self._inbox._depth -= 1
            self._items.append(item)
            self._accepted += 1
            self._inbox._added()

    def close(self, discard: bool = False) -> None:
        """End of this source; what waits is still handed on unless ``discard``."""
        with self._inbox._lock:
            if discard:
                self._dropped[DISCARDED] += len(self._items)
                self._inbox._depth -= len(self._items)
                self._items.clear()
                self._state = "aborted"
            elif self._state == "open":
                self._state = "draining"
            self._not_full.notify_all()
            self._inbox._not_empty.notify_all()

    @property
    def ended(self) -> bool:
        """True when it is closed and all its frames were taken."""
        return self._state != "open" and not self._items

    def stats(self) -> LaneStats:
        """All counters, from one moment."""
        with self._inbox._lock:
            return LaneStats(
                self.name,
                self.live,
                len(self._items),
                self._accepted,
                self._taken,
                {cause: n for cause, n in self._dropped.items() if n},
                self._blocked,
            )

    def _take(self) -> T:
        item = self._items.popleft()
        self._taken += 1
        self._not_full.notify()
        return item


class Inbox(Generic[T]):
    """The lanes of all sources. Ends when it is sealed and every lane is closed and empty."""

    def __init__(self, name: str = "inbox") -> None:
        self.name = name
        self._lock = threading.RLock()  # a lane's close() runs inside close()
        self._not_empty = threading.Condition(self._lock)
        self._lanes: list[Lane[T]] = []
        self._turn: deque[Lane[T]] = deque()  # lanes not ended; the next to serve is leftmost
        self._sealed = False
        self._aborted = False
        self._depth = 0
        self._high_water = 0
        self._waited = 0.0

    def open(self, name: str, *, live: bool, capacity: int | None = None) -> Lane[T]:
        """A lane for a source.

        Args:
            name: the source's name.
            live: drop the oldest frame when full (camera) instead of blocking (file).
            capacity: frames that may wait; by default 1 if live (only the newest), else 8.

        Raises:
            Closed: the inbox is sealed or closed.
            ValueError: the capacity is below 1.
        """
        with self._lock:
            if self._sealed:
                raise Closed(f"inbox '{self.name}' is sealed")
            if capacity is None:
                capacity = 1 if live else 8
            lane = Lane(self, name, live=live, capacity=capacity)
            self._lanes.append(lane)
            self._turn.append(lane)
            return lane

    def seal(self) -> None:
        """No further lanes: from now on the inbox ends with its last lane."""
        with self._lock:
            self._sealed = True
            self._not_empty.notify_all()

    def get_batch(self, max_items: int, max_wait: float, timeout: float | None = None) -> list[T]:
        """Take 1 to ``max_items`` frames, one of each lane in turn; order within a lane is kept.

        Blocks for the first, then lingers up to ``max_wait`` seconds for more.

        Returns:
            Empty when nothing came within ``timeout`` seconds.

        Raises:
            Closed: it is sealed and all lanes have ended, or it was aborted.
            ValueError: ``max_items`` is below 1.
        """
        if max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {max_items}")
        with self._lock:
            if not self._depth:
                start = time.monotonic()
                came = self._not_empty.wait_for(lambda: self._depth > 0 or self._ended(), timeout)
                self._waited += time.monotonic() - start
                if not came:
                    return []
            if not self._depth:
                raise Closed(f"inbox '{self.name}' has ended")
            batch = self._serve(max_items)
            deadline = time.monotonic() + max_wait
            while len(batch) < max_items and not self._ended():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._not_empty.wait(left)
                batch += self._serve(max_items - len(batch))
            if self._aborted:
                raise Closed(f"inbox '{self.name}' was aborted")
            return batch

    def close(self, discard: bool = False) -> None:
        """Seal it and close every lane; with ``discard`` throw away what waits."""
        with self._lock:
            self._sealed = True
            self._aborted = self._aborted or discard
            for lane in self._lanes:
                lane.close(discard)
            self._not_empty.notify_all()

    @property
    def aborted(self) -> bool:
        """True once it was closed with ``discard``."""
        return self._aborted

    @property
    def depth(self) -> int:
        """Frames that wait now, in all lanes."""
        return self._depth

    def lanes(self) -> list[LaneStats]:
        """The counters of every lane, ended ones too."""
        with self._lock:
            return [lane.stats() for lane in self._lanes]

    def stats(self) -> QueueStats:
        """The inbox as one queue."""
        with self._lock:
            return QueueStats(
                self.name,
                sum(lane.capacity for lane in self._lanes),
                self._depth,
                self._high_water,
                sum(lane._taken for lane in self._lanes),
                sum(lane._dropped[DISCARDED] for lane in self._lanes),
                sum(lane._blocked for lane in self._lanes),
                self._waited,
                max(1, len(self._lanes)),
            )

    def _added(self) -> None:
        self._depth += 1
        self._high_water = max(self._high_water, self._depth)
        self._not_empty.notify()

    def _ended(self) -> bool:
        return self._aborted or (self._sealed and all(lane.ended for lane in self._turn))

    def _serve(self, max_items: int) -> list[T]:
        batch: list[T] = []
        while self._depth and len(batch) < max_items:
            lane = self._turn[0]
            if lane._items:
                batch.append(lane._take())
                self._depth -= 1
            if lane.ended:
                self._turn.popleft()
            else:
                self._turn.rotate(-1)
        return batch
