"""Counts what MQTT and webhooks delivered, in whatever registry exposes it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Outcome = Literal["sent", "failed", "dropped", "dead"]
"""``failed``: an attempt that is repeated; ``dropped``: too many waited; ``dead``: given up."""


class DeliveryCounts(Collector):
    """Shared by the outputs of a process; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Outcome]] = Counter()
        self._waiting: dict[str, Callable[[], int]] = {}
        self._exposed: set[int] = set()

    def watch(self, output: str, waiting: Callable[[], int]) -> None:
        """An output, and how many of its messages wait."""
        self._waiting[output] = waiting

    def unwatch(self, output: str) -> None:
        """The output is closed."""
        self._waiting.pop(output, None)

    def add(self, output: str, outcome: Outcome, count: int = 1) -> None:
        """So many messages."""
        with self._lock:
            self._counts[output, outcome] += count

    def value(self, output: str, outcome: Outcome) -> int:
        """So far."""
        with self._lock:
            return self._counts[output, outcome]

    def expose_in(self, registry: CollectorRegistry) -> None:
        """Let a registry have the counts, once."""
        if id(registry) not in self._exposed:
            self._exposed.add(id(registry))
            registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The families; those of no output have no values."""
        sent = CounterMetricFamily(
            "facestream_messages_total",
            "Messages of MQTT and webhooks by outcome.",
            labels=("output", "outcome"),
        )
        with self._lock:
            for (output, outcome), count in self._counts.items():
                sent.add_metric([output, outcome], count)
        yield sent
        waiting = GaugeMetricFamily(
            "facestream_messages_waiting", "Messages that wait to be sent.", labels=("output",)
        )
        for output, count_now in list(self._waiting.items()):
            waiting.add_metric([output], count_now())
        yield waiting
