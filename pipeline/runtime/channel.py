"""A bounded queue between two workers. Its end is a state, not an item.

A sentinel item deadlocks when the reader dies first: the writer blocks forever in ``put``. Here
either side may close the channel, and every thread that waits in it wakes with `Closed`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ..core.errors import Closed

T = TypeVar("T")
In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
State = Literal["open", "draining", "aborted"]


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counters of a queue at one moment.

    Attributes:
        depth: items in it now.
        high_water: most items it ever held.
        passed: items taken out so far.
        discarded: items thrown away by ``close(discard=True)``.
        blocked_seconds: time its producers waited for room, summed over them.
        waited_seconds: time its consumers waited for a first item, summed over them.
        producers: how many threads share ``blocked_seconds``, for an average.
    """

    name: str
    capacity: int
    depth: int
    high_water: int
    passed: int
    discarded: int
    blocked_seconds: float
    waited_seconds: float
    producers: int = 1


class Closable(Protocol):
    def close(self, discard: bool = False) -> None: ...


class Inlet(Closable, Protocol[Out]):
    """Where a worker takes its batches from: a `Channel` or a ``SourceQueue``."""

    @property
    def aborted(self) -> bool: ...

    def get_batch(
        self, max_items: int, max_wait: float, timeout: float | None = None
    ) -> Sequence[Out]: ...


class Outlet(Closable, Protocol[In]):
    """Where a worker puts its results: a `Channel` of these, or of these and other things."""

    def put_all(self, items: Sequence[In]) -> None: ...

    def wait_for_room(self, items: int) -> None: ...


class SharedOutlet(Generic[In]):
    """An outlet of several workers: it is drained once the last of them has closed it."""

    def __init__(self, outlet: Outlet[In], writers: int) -> None:
        self._outlet = outlet
        self._writers = writers
        self._lock = threading.Lock()

    def put_all(self, items: Sequence[In]) -> None:
        self._outlet.put_all(items)

    def wait_for_room(self, items: int) -> None:
        self._outlet.wait_for_room(items)

    def close(self, discard: bool = False) -> None:
        """Each worker closes it once; the first that discards aborts it."""
        with self._lock:
            self._writers -= 1
            last = self._writers <= 0
        if last or discard:
            self._outlet.close(discard)


class BatchQueue(ABC, Generic[T]):
    """What a `Channel` and a ``SourceQueue`` share: items are taken in batches.

    Args:
        name: in errors and reports.
        lock: guards all state.
    """

    def __init__(self, name: str, lock: threading.Lock | threading.RLock) -> None:
        self.name = name
        self._lock = lock
        self._not_empty = threading.Condition(lock)
        self._discarded = 0
        self._waited = 0.0

    @property
    @abstractmethod
    def depth(self) -> int:
        """Items that wait now."""

    @property
    @abstractmethod
    def aborted(self) -> bool:
        """True once it was closed with ``discard``."""

    def _waiting(self) -> int:
        """Items that `get_batch` could take now."""
        return self.depth

    @abstractmethod
    def _ended(self) -> bool:
        """No further items will be put."""

    @abstractmethod
    def _take_some(self, max_items: int) -> list[T]:
        """Take at most so many items, without waiting."""

    def get_batch(self, max_items: int, max_wait: float, timeout: float | None = None) -> list[T]:
        """Take 1 to ``max_items`` items: block for the first, then wait for more.

        That ends when the batch is full, after ``max_wait`` seconds, or at the end of the queue.

        Returns:
            Empty when nothing arrived within ``timeout`` seconds.

        Raises:
            Closed: the queue has ended, or was aborted.
            ValueError: ``max_items`` is below 1.
        """
        if max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {max_items}")
        with self._lock:
            if not self._wait_for_item(timeout):
                return []
            batch = self._take_some(max_items)
            deadline = time.monotonic() + max_wait
            while len(batch) < max_items and not self._ended():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._not_empty.wait(left)
                batch += self._take_some(max_items - len(batch))
            if self.aborted:
                self._discarded += len(batch)
                raise Closed(f"queue '{self.name}' was aborted")
            return batch

    def _wait_for_item(self, timeout: float | None) -> bool:
        """False after the timeout; raises `Closed` at the end."""
        if not self._waiting():
            start = time.monotonic()
            arrived = self._not_empty.wait_for(
                lambda: self._waiting() > 0 or self._ended(), timeout
            )
            self._waited += time.monotonic() - start
            if not arrived:
                return False
            if not self._waiting():
                raise Closed(f"queue '{self.name}' has ended")
        return True


class Channel(BatchQueue[T]):
    """A bounded first-in first-out queue for any number of producers and consumers.

    ``close()`` refuses further items and lets readers take the rest (drain), which
    ``close(discard=True)`` throws away (abort). Both wake all waiting threads.

    Raises:
        ValueError: the capacity is below 1.
    """

    def __init__(self, capacity: int, name: str) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of channel '{name}' must be at least 1, not {capacity}")
        super().__init__(name, threading.Lock())
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._not_full = threading.Condition(self._lock)
        self._state: State = "open"
        self._high_water = 0
        self._passed = 0
        self._blocked = 0.0

    def put(self, item: T, timeout: float | None = None) -> None:
        """Add an item; waits while the channel is full.

        Raises:
            Closed: the channel is closed, or was closed meanwhile; the item was not added.
            TimeoutError: there was no room within ``timeout`` seconds.
        """
        with self._lock:
            self._wait_for_room(timeout)
            self._append(item)

    def put_now(self, item: T) -> None:
        """Add an item even when the channel is full: a rare small one whose sender must not wait.

        Raises:
            Closed: the channel is closed.
        """
        with self._lock:
            if self._state != "open":
                raise Closed(f"channel '{self.name}' is closed")
            self._append(item)

    def put_all(self, items: Sequence[T]) -> None:
        """Add items in order; a reader finds them together where they fit.

        Raises:
            Closed: the channel is closed, or was closed before all were added.
        """
        with self._lock:
            for item in items:
                self._wait_for_room(None)
                self._append(item)

    def wait_for_room(self, items: int) -> None:
        """Wait until this many items (at most the capacity) fit in at once.

        Raises:
            Closed: the channel is closed, or was closed meanwhile.
        """
        with self._lock:
            self._wait_for_room(None, min(items, self.capacity))

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item; waits while there is none.

        Raises:
            Closed: the channel is closed and empty.
            TimeoutError: nothing arrived within ``timeout`` seconds.
        """
        with self._lock:
            if not self._wait_for_item(timeout):
                raise TimeoutError(f"channel '{self.name}' stayed empty for {timeout:g} s")
            return self._take_some(1)[0]

    def close(self, discard: bool = False) -> None:
        """Refuse further items; with ``discard`` throw away those that wait. May be repeated."""
        with self._lock:
            if discard:
                self._discarded += len(self._items)
                self._items.clear()
                self._state = "aborted"
            elif self._state == "open":
                self._state = "draining"
            self._not_empty.notify_all()
            self._not_full.notify_all()

    @property
    def closed(self) -> bool:
        """True once it was closed, either way."""
        return self._state != "open"

    @property
    def aborted(self) -> bool:
        return self._state == "aborted"

    @property
    def depth(self) -> int:
        return len(self._items)

    def stats(self) -> QueueStats:
        with self._lock:
            return QueueStats(
                self.name,
                self.capacity,
                len(self._items),
                self._high_water,
                self._passed,
                self._discarded,
                self._blocked,
                self._waited,
            )

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {self.depth}/{self.capacity}, {self._state})"

    def _wait_for_room(self, timeout: float | None, items: int = 1) -> None:
        fullest = self.capacity - items
        if self._state == "open" and len(self._items) <= fullest:
            return
        start = time.monotonic()
        try:
            free = self._not_full.wait_for(
                lambda: self._state != "open" or len(self._items) <= fullest, timeout
            )
        finally:
            self._blocked += time.monotonic() - start
        if self._state != "open":
            raise Closed(f"channel '{self.name}' is closed")
        if not free:
            raise TimeoutError(f"channel '{self.name}' stayed full for {timeout:g} s")

    def _append(self, item: T) -> None:
        self._items.append(item)
        self._high_water = max(self._high_water, len(self._items))
        self._not_empty.notify()

    def _ended(self) -> bool:
        return self.closed

    def _take_some(self, max_items: int) -> list[T]:
        taken = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
        self._passed += len(taken)
        # All: the waiting writers need room for different numbers of items.
        self._not_full.notify_all()
        return taken
