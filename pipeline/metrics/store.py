"""The metrics of one run, in a `prometheus_client` registry of its own.

Queues, sources and memory are not counted a second time: a collector reads them at each scrape.
"""

from __future__ import annotations

import os
import resource
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..runtime.channel import QueueStats
from ..runtime.source_queue import BufferStats
from .families import (
    BATCH_FRAMES,
    FAMILIES,
    FRAMES_DROPPED,
    PROCESS_MEMORY,
    QUEUE_BLOCKED,
    QUEUE_DEPTH,
    QUEUE_HIGH_WATER,
    QUEUE_WAITED,
    STAGE_SECONDS,
    Family,
    Kind,
)

_STATM = Path("/proc/self/statm")
Rows = list[tuple[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Distribution:
    """The observations of a histogram: their number, sum, extremes, and counts by bucket.

    ``bounds`` are upper bounds; an unbounded bucket follows. ``buckets`` are not cumulative.
    """

    count: int
    total: float
    smallest: float
    largest: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]

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


class _Histogram(prometheus.Histogram):
    """With the extremes, which bound the quantiles in the outer buckets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._extremes_lock = threading.Lock()
        self._smallest, self._largest = inf, -inf

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        super().observe(amount, exemplar)
        if amount < self._smallest or amount > self._largest:
            with self._extremes_lock:
                self._smallest = min(self._smallest, amount)
                self._largest = max(self._largest, amount)

    def distribution(self, bounds: tuple[float, ...]) -> Distribution:
        samples = next(iter(self.collect())).samples
        above = [s.value for s in samples if s.name.endswith("_bucket")]
        total = next(s.value for s in samples if s.name.endswith("_sum"))
        inside = tuple(int(b - a) for a, b in zip([0.0, *above], above, strict=False))
        with self._extremes_lock:
            smallest, largest = self._smallest, self._largest
        return Distribution(int(above[-1]), total, smallest, largest, bounds, inside)


class Metrics(Collector):
    """The values of one run; any thread may update and read them.

    The cost of an update, of reading one value and of a counter's total does not depend on the
    number of label sets. All methods raise ValueError for labels, or a kind, that are not the
    family's.

    Attributes:
        registry: for an exporter.
    """

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        self._families: dict[Family, Any] = {family: _created(family) for family in FAMILIES}
        self._children: dict[tuple[Family, tuple[str, ...]], Any] = {}
        self._totals: defaultdict[Family, float] = defaultdict(float)
        self._queues: list[Callable[[], QueueStats]] = []
        self._sources: list[Callable[[], Sequence[BufferStats]]] = []
        self._refreshing: list[Callable[[], None]] = []
        self.registry.register(self)

    def add(self, family: Family, amount: float = 1, /, **labels: str) -> None:
        self._child(family, "counter", labels).inc(amount)
        with self._lock:
            self._totals[family] += amount

    def set(self, family: Family, value: float, /, **labels: str) -> None:
        self._child(family, "gauge", labels).set(value)

    def observe(self, family: Family, value: float, /, **labels: str) -> None:
        self._child(family, "histogram", labels).observe(value)

    def observe_batch(self, stage: str, seconds: float, frames: int) -> None:
        self.observe(STAGE_SECONDS, seconds, stage=stage)
        self.observe(BATCH_FRAMES, frames, stage=stage)

    def watch(self, stats: Callable[[], QueueStats]) -> None:
        """Read this queue at every scrape; pass ``channel.stats``, upstream queues first."""
        self._queues.append(stats)

    def watch_sources(self, stats: Callable[[], Sequence[BufferStats]]) -> None:
        """Count what these sources dropped; pass ``queue.source_stats``."""
        self._sources.append(stats)

    def refresh_with(self, refresh: Callable[[], None]) -> None:
        """Call this before each scrape, to set gauges."""
        self._refreshing.append(refresh)

    def queues(self) -> list[QueueStats]:
        return [stats() for stats in self._queues]

    def value(self, family: Family, /, **labels: str) -> float:
        """A counter or gauge, 0 when never set; without labels a counter's total."""
        if not labels and family.labels:
            return self._totals.get(family, 0.0)
        child = self._children.get((family, _values(family, labels)))
        return 0.0 if child is None else _value(child)

    def values(self, family: Family) -> dict[tuple[str, ...], float]:
        """A counter or gauge by the values of its labels, in the order of ``family.labels``."""
        return {labels: _value(child) for labels, child in self._of(family)}

    def distribution(self, family: Family, /, **labels: str) -> Distribution | None:
        """A histogram with these labels; None when nothing was observed."""
        child = self._children.get((family, _values(family, labels)))
        return None if child is None else child.distribution(family.buckets)

    def distributions(self, family: Family) -> dict[tuple[str, ...], Distribution]:
        """A histogram by the values of its labels, in the order of ``family.labels``."""
        return {labels: child.distribution(family.buckets) for labels, child in self._of(family)}

    def dropped(self) -> dict[str, dict[str, int]]:
        """Frames lost before they were processed, by source and cause; in queues and elsewhere."""
        counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (source, cause), count in self.values(FRAMES_DROPPED).items():
            counts[source][cause] += round(count)
        for sources in self._sources:
            for stats in sources():
                for cause, count in stats.dropped.items():
                    counts[stats.name][cause] += count
        return {source: dict(causes) for source, causes in counts.items()}

    def collect(self) -> Iterator[Metric]:
        """Every family, also those without a value; for the registry."""
        for refresh in self._refreshing:
            refresh()
        read = self._read()
        for family, metric in self._families.items():
            if family in read:
                kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                exposed = kind(family.name, family.help, labels=family.labels)
                for labels, value in read[family]:
                    exposed.add_metric(list(labels), value)
                yield exposed
                continue
            (found,) = metric.collect()
            found.samples = [s for s in found.samples if not s.name.endswith("_created")]
            yield found

    def _read(self) -> dict[Family, Rows]:
        """The families whose values are read elsewhere at each scrape."""
        queues = self.queues()
        return {
            FRAMES_DROPPED: [
                ((source, cause), count)
                for source, causes in self.dropped().items()
                for cause, count in causes.items()
            ],
            QUEUE_DEPTH: [((q.name,), q.depth) for q in queues],
            QUEUE_HIGH_WATER: [((q.name,), q.high_water) for q in queues],
            QUEUE_BLOCKED: [((q.name,), q.blocked_seconds) for q in queues],
            QUEUE_WAITED: [((q.name,), q.waited_seconds) for q in queues],
            PROCESS_MEMORY: [((kind,), size) for kind, size in memory_bytes().items()],
        }

    def _of(self, family: Family) -> list[tuple[tuple[str, ...], Any]]:
        with self._lock:
            children = list(self._children.items())
        return [(labels, child) for (of, labels), child in children if of is family]

    def _child(self, family: Family, kind: Kind, labels: dict[str, str]) -> Any:
        if family.kind != kind:
            raise ValueError(f"{family.name} is a {family.kind}, not a {kind}")
        key = family, _values(family, labels)
        child = self._children.get(key)
        if child is None:
            with self._lock:
                child = self._children[key] = self._families[family].labels(*key[1])
        return child


def memory_bytes() -> dict[str, int]:
    """Memory of this process: ``resident`` now (on Linux only) and ``peak`` so far."""
    sizes = {"peak": peak_memory_bytes()}
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return sizes
    return {"resident": pages * os.sysconf("SC_PAGE_SIZE"), **sizes}


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _values(family: Family, labels: dict[str, str]) -> tuple[str, ...]:
    try:
        values = tuple([labels[name] for name in family.labels])
    except KeyError:
        values = ()
    if len(values) != len(labels) or len(values) != len(family.labels):
        want, have = ", ".join(family.labels) or "none", ", ".join(labels) or "none"
        raise ValueError(f"{family.name} has the labels {want}; given: {have}")
    return values


def _value(child: Any) -> float:
    return float(child.collect()[0].samples[0].value)


def _created(family: Family) -> Any:
    described = family.name, family.help, family.labels
    if family.kind == "histogram":
        return _Histogram(*described, buckets=family.buckets, registry=None)
    kind = prometheus.Counter if family.kind == "counter" else prometheus.Gauge
    return kind(*described, registry=None)
