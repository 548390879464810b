"""The values of a run's metrics.

Writers pay one lock and one dictionary look-up per update; queues and lanes are not counted twice
but read when a snapshot is taken.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..runtime.channel import QueueStats
from ..runtime.source_queue import LaneStats
from .families import (
    FRAMES_DROPPED,
    PROCESS_MEMORY,
    QUEUE_BLOCKED,
    QUEUE_DEPTH,
    QUEUE_HIGH_WATER,
    QUEUE_WAITED,
    Family,
    Kind,
)
from .memory import memory_bytes

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """What was observed.

    Attributes:
        count: number of observations.
        total: their sum.
        smallest: the least of them.
        largest: the greatest of them.
        bounds: upper bounds of the buckets; one unbounded bucket follows.
        buckets: observations in each bucket (not cumulative), one more than ``bounds``.
    """

    count: int
    total: float
    smallest: float
    largest: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean of what was observed."""
        return self.total / self.count

    def quantile(self, q: float) -> float:
        """Estimate of the ``q``-quantile (0..1), linear within its bucket."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not {q}")
        rank = q * self.count
        below = 0
        for number, inside in enumerate(self.buckets):
            if inside and below + inside >= rank:
                low = self.bounds[number - 1] if number else self.smallest
                high = self.bounds[number] if number < len(self.bounds) else self.largest
                low, high = max(low, self.smallest), min(high, self.largest)
                return min(high, low + (high - low) * (rank - below) / inside)
            below += inside
        return self.largest


@dataclass(frozen=True, slots=True)
class Sample:
    """One value: of a family, for one set of labels."""

    family: Family
    labels: Labels
    value: float | Histogram


class _Tally:
    """A histogram that is being filled."""

    __slots__ = ("buckets", "count", "largest", "smallest", "total")

    def __init__(self, bounds: int) -> None:
        self.count = 0
        self.total = 0.0
        self.smallest = float("inf")
        self.largest = float("-inf")
        self.buckets = [0] * (bounds + 1)


class Metrics:
    """The values of one run; any thread may update and read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[Family, Labels], float] = {}
        self._tallies: dict[tuple[Family, Labels], _Tally] = {}
        self._queues: list[Callable[[], QueueStats]] = []
        self._lanes: list[Callable[[], Sequence[LaneStats]]] = []
        self._refreshing: list[Callable[[], None]] = []
        self._started = time.monotonic()

    def add(self, family: Family, amount: float = 1, /, **labels: str) -> None:
        """Raise a counter.

        Raises:
            ValueError: the family is no counter or has other labels.
        """
        key = _key(family, "counter", labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def set(self, family: Family, value: float, /, **labels: str) -> None:
        """Set a gauge.

        Raises:
            ValueError: the family is no gauge or has other labels.
        """
        key = _key(family, "gauge", labels)
        with self._lock:
            self._values[key] = value

    def observe(self, family: Family, value: float, /, **labels: str) -> None:
        """Add an observation to a histogram.

        Raises:
            ValueError: the family is no histogram or has other labels.
        """
        key = _key(family, "histogram", labels)
        bucket = bisect_left(family.buckets, value)
        with self._lock:
            tally = self._tallies.get(key)
            if tally is None:
                tally = self._tallies[key] = _Tally(len(family.buckets))
            tally.count += 1
            tally.total += value
            tally.smallest = min(tally.smallest, value)
            tally.largest = max(tally.largest, value)
            tally.buckets[bucket] += 1

    @contextmanager
    def timed(self, family: Family, /, **labels: str) -> Iterator[None]:
        """Observe the seconds that a block takes, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.observe(family, time.perf_counter() - start, **labels)

    def watch(self, stats: Callable[[], QueueStats]) -> None:
        """Read this queue in every snapshot; pass ``channel.stats``, upstream queues first."""
        with self._lock:
            self._queues.append(stats)

    def watch_lanes(self, lanes: Callable[[], Sequence[LaneStats]]) -> None:
        """Count what these lanes dropped in every snapshot; pass ``inbox.lanes``."""
        with self._lock:
            self._lanes.append(lanes)

    def refresh_with(self, refresh: Callable[[], None]) -> None:
        """Call this before each snapshot; it sets the values of what changes without a word."""
        with self._lock:
            self._refreshing.append(refresh)

    def queues(self) -> list[QueueStats]:
        """The watched queues, now."""
        with self._lock:
            watched = list(self._queues)
        return [stats() for stats in watched]

    @property
    def seconds(self) -> float:
        """Time since this was made."""
        return time.monotonic() - self._started

    def value(self, family: Family, /, **labels: str) -> float:
        """A counter or gauge, summed over the labels that are not given; 0 when never touched."""
        with self._lock:
            return sum(
                value
                for (have, pairs), value in self._values.items()
                if have == family and labels.items() <= dict(pairs).items()
            )

    def histogram(self, family: Family, /, **labels: str) -> Histogram | None:
        """A histogram, merged over the labels that are not given; None when nothing was seen."""
        with self._lock:
            found = [
                tally
                for (have, pairs), tally in self._tallies.items()
                if have == family and labels.items() <= dict(pairs).items()
            ]
            return _merged(family, found) if found else None

    def dropped(self, *, source: str | None = None) -> dict[str, int]:
        """Frames lost before they were processed, by cause, in lanes and elsewhere."""
        counts: dict[str, int] = {}
        for labels, value in self._drops().items():
            have = dict(labels)
            if source is None or have["source"] == source:
                counts[have["cause"]] = counts.get(have["cause"], 0) + round(value)
        return counts

    def snapshot(self) -> list[Sample]:
        """Every value, grouped by family."""
        with self._lock:
            refreshing = list(self._refreshing)
        for refresh in refreshing:
            refresh()
        with self._lock:
            samples = [
                Sample(f, labels, v)
                for (f, labels), v in self._values.items()
                if f != FRAMES_DROPPED
            ]
            samples += [
                Sample(f, labels, _merged(f, [tally]))
                for (f, labels), tally in self._tallies.items()
            ]
        samples += [Sample(FRAMES_DROPPED, labels, v) for labels, v in self._drops().items()]
        for queue in self.queues():
            labels = (("queue", queue.name),)
            samples += [
                Sample(QUEUE_DEPTH, labels, queue.depth),
                Sample(QUEUE_HIGH_WATER, labels, queue.high_water),
                Sample(QUEUE_BLOCKED, labels, queue.blocked_seconds),
                Sample(QUEUE_WAITED, labels, queue.waited_seconds),
            ]
        samples += [
            Sample(PROCESS_MEMORY, (("kind", kind),), value)
            for kind, value in memory_bytes().items()
        ]
        return sorted(samples, key=lambda sample: (sample.family.name, sample.labels))

    def _drops(self) -> dict[Labels, float]:
        """What was counted as dropped, and what the lanes say they dropped, summed."""
        with self._lock:
            drops = {
                labels: value
                for (family, labels), value in self._values.items()
                if family == FRAMES_DROPPED
            }
            watched = list(self._lanes)
        for lane in (lane for lanes in watched for lane in lanes()):
            for cause, count in lane.dropped.items():
                key = (("source", lane.name), ("cause", cause))
                drops[key] = drops.get(key, 0) + count
        return drops


def limiting_queue(queues: Sequence[QueueStats]) -> QueueStats | None:
    """The queue before the slowest worker, or None when the sources are the slowest.

    A worker is idle while it waits at its inlet or is blocked at its outlet; the slowest worker
    is the one that is idle least.

    Args:
        queues: from the sources (inbox) downstream, each read by the worker that fills the next.
    """
    if not queues:
        return None
    idle = [queues[0].blocked_seconds / queues[0].producers]
    for here, after in zip(queues, [*queues[1:], None], strict=True):
        idle.append(here.waited_seconds + (after.blocked_seconds if after else 0.0))
    slowest = min(range(len(idle)), key=idle.__getitem__)
    return queues[slowest - 1] if slowest else None


def _key(family: Family, kind: Kind, labels: dict[str, str]) -> tuple[Family, Labels]:
    if family.kind != kind:
        raise ValueError(f"{family.name} is a {family.kind}, not a {kind}")
    if labels.keys() != set(family.labels):
        want, have = ", ".join(family.labels) or "none", ", ".join(labels) or "none"
        raise ValueError(f"{family.name} has the labels {want}; given: {have}")
    return family, tuple((name, labels[name]) for name in family.labels)


def _merged(family: Family, tallies: Sequence[_Tally]) -> Histogram:
    return Histogram(
        count=sum(t.count for t in tallies),
        total=sum(t.total for t in tallies),
        smallest=min(t.smallest for t in tallies),
        largest=max(t.largest for t in tallies),
        bounds=family.buckets,
        buckets=tuple(sum(column) for column in zip(*(t.buckets for t in tallies), strict=True)),
    )
