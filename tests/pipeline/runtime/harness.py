"""A small pipeline of real threads with stages of planned behaviour, for tests of the runtime."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import NamedTuple

from facestream.pipeline.core.errors import Closed
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.channel import Channel
from facestream.pipeline.runtime.source_queue import SourceBuffer, SourceQueue
from facestream.pipeline.runtime.supervisor import Supervisor
from facestream.pipeline.runtime.worker import Batching, Stage, run_worker

STAGES = ("detect", "embed", "track", "sink")


class Planted(Exception):
    """The error that a test planted."""


class Item(NamedTuple):
    """What travels: the runtime does not look inside."""

    source: str
    number: int


class Probe:
    """A stage that notes what it saw, may hold frames back, and may fail.

    Args:
        name: the stage's name.
        fail_at: raise on this item (counted over all batches); -1 raises in flush, -2 in close.
        hold: frames it keeps back until more come or the end.
    """

    def __init__(self, name: str, *, fail_at: int | None = None, hold: int = 0) -> None:
        self.name = name
        self.seen: list[Item] = []
        self.closed = 0
        self._fail_at = fail_at
        self._hold = hold
        self._held: list[Item] = []

    def __call__(self, batch: list[Item]) -> list[Item]:
        for item in batch:
            if len(self.seen) == self._fail_at:
                raise Planted(self.name)
            self.seen.append(item)
            self._held.append(item)
        ready = max(0, len(self._held) - self._hold)
        out, self._held = self._held[:ready], self._held[ready:]
        return out

    def flush(self) -> list[Item]:
        if self._fail_at == -1:
            raise Planted(self.name)
        out, self._held = self._held, []
        return out

    def close(self) -> None:
        self.closed += 1
        if self._fail_at == -2:
            raise Planted(self.name)


class Feeder:
    """Reads one source into its buffer: ``items`` frames, or raises at ``fail_at``."""

    def __init__(
        self, buffer: SourceBuffer[Item], items: int, *, fail_at: int | None = None
    ) -> None:
        self.buffer = buffer
        self.items = items
        self.delivered = 0
        self._fail_at = fail_at
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def __call__(self) -> None:
        try:
            for index in range(self.items):
                if index == self._fail_at:
                    raise Planted(self.buffer.name)
                if self._stopping.is_set():
                    return
                self.buffer.put(Item(self.buffer.name, index))
                self.delivered += 1
        except Closed:
            return
        finally:
            self.buffer.close()


class Rig:
    """sources → queue → detect → embed+track → sink → results, with random capacities."""

    def __init__(
        self,
        rng: random.Random,
        probes: Sequence[Probe],
        *,
        items: Sequence[int] = (12, 12),
        fail_source: int | None = None,
    ) -> None:
        self.supervisor = Supervisor(grace=20.0)
        self.metrics = Metrics()
        self.probes = list(probes)
        self.queue: SourceQueue[Item] = self.supervisor.own(SourceQueue())
        self.feeders: list[Feeder] = []
        for number, count in enumerate(items):
            buffer = self.queue.open(f"s{number}", live=False, capacity=rng.randint(1, 4))
            fail_at = fail_source if number == 0 else None
            self.feeders.append(Feeder(buffer, count, fail_at=fail_at))
        self.queue.seal()
        self.links: list[Channel[Item]] = [
            self.supervisor.channel(rng.randint(1, 4), name)
            for name in ("found", "tracked", "results")
        ]
        self._rng = rng

    @property
    def results(self) -> Channel[Item]:
        return self.links[-1]

    def start(self) -> None:
        detect, embed, track, sink = self.probes
        found, tracked, results = self.links
        self._spawn("detect", [detect], self.queue, found)
        self._spawn("embed+track", [embed, track], found, tracked)
        self._spawn("sink", [sink], tracked, results)
        for feeder in self.feeders:
            self.supervisor.on_stop(feeder.stop)
            self.supervisor.spawn(feeder.buffer.name, feeder)

    def consume(self) -> list[Item]:
        got: list[Item] = []
        while True:
            try:
                got += self.results.get_batch(3, 0.0)
            except Closed:
                return got

    def _spawn(
        self,
        name: str,
        stages: Sequence[Stage[Item]],
        inlet: SourceQueue[Item] | Channel[Item],
        outlet: Channel[Item],
    ) -> None:
        batching = Batching(self._rng.randint(1, 4), self._rng.choice([0.0, 0.001]))
        self.supervisor.spawn(
            name,
            lambda: run_worker(
                stages, inlet, outlet, batching=batching, on_batch=self.metrics.observe_batch
            ),
        )


def facestream_threads() -> list[str]:
    """Threads of the runtime that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("facestream-")]
