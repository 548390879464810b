"""Events for clients that listen: a ring of the newest, and a bounded queue for each client."""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ..core.events import Event, SightingEvent

QUEUE: Final = 256
"""Events that wait for a client; a slower one is disconnected, and resumes by its last id."""

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})-([0-9]{1,14})")


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event, its JSON, and its id for clients: of this process, its number and its time."""

    number: int
    id: str
    event: Event
    json: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that a client missed and that are not kept any more.

    Attributes:
        since: when the last event that it had was sent, UTC.
    """

    since: datetime


class ListeningEnded(Exception):
    """No more events come to a client."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; a field that is None does not restrict.

    Attributes:
        cameras: names of sources; events of outputs, which have no source, pass without scope.
        people: person ids.
    """

    cameras: frozenset[str] | None = None
    types: frozenset[str] | None = None
    people: frozenset[int] | None = None
    verdicts: frozenset[str] | None = None

    def passes(self, event: Event) -> bool:
        """True for an event that is wanted."""
        if self.cameras is not None and event.source not in self.cameras:
            return False
        if self.types is not None and event.type not in self.types:
            return False
        if not isinstance(event, SightingEvent):
            return self.people is None and self.verdicts is None
        return (self.people is None or event.person_id in self.people) and (
            self.verdicts is None or event.verdict in self.verdicts
        )


class Listener:
    """A client's queue; made by `EventBus.listen`, used in that client's event loop."""

    def __init__(self, wanted: EventFilter) -> None:
        self.wanted = wanted
        self.overflowed = False
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[NumberedEvent | Gap] = deque()
        self._news = asyncio.Event()
        self._ended = False

    def offer(self, item: NumberedEvent) -> None:
        """A new event; from any thread."""
        if self.wanted.passes(item.event):
            self._call(lambda: self._take([item]))

    def end(self) -> None:
        """No more events; from any thread."""
        self._call(self._end)

    async def next(self, timeout: float) -> NumberedEvent | Gap | None:
        """The next event; None where none came in so many seconds.

        Raises:
            ListeningEnded: the bus was closed, or the client was too slow.
        """
        if not self._waiting and not self._ended:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                return None
        if self.overflowed or not self._waiting:
            raise ListeningEnded
        return self._waiting.popleft()

    def _take(self, items: Iterable[NumberedEvent | Gap], *, bounded: bool = True) -> None:
        if self._ended:
            return
        self._waiting.extend(items)
        if bounded and len(self._waiting) > QUEUE:
            self.overflowed = self._ended = True
            self._waiting.clear()
        self._news.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop has ended, and the client with it
            self._ended = True


class EventBus:
    """Passes events on to everybody who listens: clients, and other parts of the service.

    Args:
        history: how many events are kept.
    """

    def __init__(self, history: int) -> None:
        self._run = secrets.token_hex(4)
        self._ring: deque[NumberedEvent] = deque(maxlen=history)
        self._number = 0
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._callbacks: list[Callable[[Event], None]] = []
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many clients listen."""
        return len(self._listeners)

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Call this with every event, in the thread of the cameras; it must return at once."""
        self._callbacks.append(callback)

    def publish(self, event: Event) -> None:
        """An event happened; from any thread."""
        with self._lock:
            self._number += 1
            name = f"{self._run}-{self._number}-{int(1000 * time.time())}"
            item = NumberedEvent(self._number, name, event, event.to_json())
            self._ring.append(item)
            for listener in self._listeners:
                listener.offer(item)
        for callback in self._callbacks:
            callback(event)

    def forget(self, sightings: Collection[str], name: str | None = None) -> int:
        """Drop the kept events of these sightings, and those with this name; returns how many."""

        def gone(event: Event) -> bool:
            if not isinstance(event, SightingEvent):
                return False
            return event.sighting in sightings or (name is not None and event.name == name)

        with self._lock:
            kept = [item for item in self._ring if not gone(item.event)]
            count = len(self._ring) - len(kept)
            self._ring = deque(kept, maxlen=self._ring.maxlen)
        return count

    def listen(self, wanted: EventFilter, *, after: str | None = None) -> Listener:
        """A queue of what happens from now on, in the running event loop.

        Args:
            after: the id of the last event that the client has; what followed comes first, after
                a `Gap` where some of it is not kept any more.
        """
        listener = Listener(wanted)
        with self._lock:
            if after is not None:
                listener._take(self._missed(after, wanted), bounded=False)
            if self._closed:
                listener._end()
            self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """A client does not listen any more."""
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.end()

    def _missed(self, after: str, wanted: EventFilter) -> list[NumberedEvent | Gap]:
        found = _ID.fullmatch(after)
        if found is None:
            return []
        last = int(found[2]) if found[1] == self._run else -1
        oldest = self._ring[0].number if self._ring else self._number + 1
        kept: list[NumberedEvent | Gap] = [
            item for item in self._ring if item.number > last and wanted.passes(item.event)
        ]
        whole = last >= oldest - 1
        return kept if whole else [Gap(datetime.fromtimestamp(int(found[3]) / 1000, UTC)), *kept]
