"""Networks side by side: a lane for each thread.

MTCNN's networks are too small to share one among threads. So each thread has its own, and works
either on a picture of its own or on its part of one picture.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from facestream.engines.base import Engine
from facestream.engines.options import Serving

from .networks import Networks

Item = TypeVar("Item")
Result = TypeVar("Result")


class Team(Protocol):
    """Does a list of jobs, each with networks."""

    @property
    def parts(self) -> int:
        """Into how many jobs work is best divided."""
        ...

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order."""
        ...


class _One:
    """A single lane: one job after the other."""

    parts = 1

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        return [job(self._networks, item) for item in items]


class Lanes:
    """All lanes of a detector. May be used from several threads.

    Args:
        serving: what is to run them, its backend chosen; without threads all cores that the
            process may use.
        screen: see ``Networks``.
    """

    def __init__(self, serving: Serving, *, screen: bool) -> None:
        threads = serving.threads or len(os.sched_getaffinity(0))
        # torch's threads are those of the process: it gets one lane with all of them.
        self.parts, each = (threads, 1) if serving.backend == "openvino" else (1, threads)
        own = replace(serving, threads=each)
        self._all = [Networks(own, screen=screen) for _ in range(self.parts)]
        self._idle: queue.SimpleQueue[Networks] = queue.SimpleQueue()
        for networks in self._all:
            self._idle.put(networks)
        self._pool: ThreadPoolExecutor | None = None
        if self.parts > 1:
            self._pool = ThreadPoolExecutor(self.parts, thread_name_prefix="mtcnn")

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name, of one lane: all lanes have the same."""
        return self._all[0].engines

    @contextmanager
    def lane(self) -> Iterator[Networks]:
        """Networks nobody else uses for the time of the block; waits until some are idle."""
        networks = self._idle.get()
        try:
            yield networks
        finally:
            self._idle.put(networks)

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order, on all lanes at once."""

        def one(item: Item) -> Result:
            with self.lane() as networks:
                return job(networks, item)

        if self._pool is None or len(items) < 2:
            return [one(item) for item in items]
        return list(self._pool.map(one, items))

    def close(self) -> None:
        """Wait for jobs under way and free the networks."""
        if self._pool is not None:
            self._pool.shutdown()
        for networks in self._all:
            networks.close()


def alone(networks: Networks) -> Team:
    """A team of one lane."""
    return _One(networks)
