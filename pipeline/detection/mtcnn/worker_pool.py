"""MTCNN's networks on several threads.

The networks are too small to divide one run among threads. So each thread works on an image of its
own, or on its part of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from facestream.engines.base import Engine
from facestream.engines.devices import usable_cpus
from facestream.engines.options import Serving
from facestream.engines.parity import Gate

from .networks import Network, Networks

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Run jobs that need the networks."""

    @property
    def parts(self) -> int:
        """Into how many jobs work is best divided."""
        ...

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order."""
        ...


class SingleWorker:
    """One thread: one job after the other."""

    parts = 1

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        return [job(self._networks, item) for item in items]


class WorkerPool:
    """The networks, shared by a pool of threads. May be used from several threads.

    Each network is loaded once and serves all threads side by side, each on one CPU (measured on
    two busy CPUs, 1080p: as fast as a copy of the networks for each thread, or faster).

    Args:
        serving: its backend chosen; without ``threads`` all CPUs that the process may use.
        screen: see ``Networks``.
        gate: see ``Networks``.
    """

    def __init__(self, serving: Serving, *, screen: bool, gate: Callable[[Network], Gate]) -> None:
        threads = serving.threads or usable_cpus()
        # Only on the CPU a network gains from several callers at a time.
        self.parts = 1 if serving.backend == "tensorrt" or serving.device == "cuda" else threads
        serving = replace(serving, threads=threads)
        self._networks = Networks(serving, screen=screen, gate=gate, streams=self.parts)
        self._pool: ThreadPoolExecutor | None = None
        if self.parts > 1:
            self._pool = ThreadPoolExecutor(self.parts, thread_name_prefix="mtcnn")

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name."""
        return self._networks.engines

    def each(self, job: Callable[[Networks, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order, side by side."""
        if self._pool is None or len(items) < 2:
            return [job(self._networks, item) for item in items]
        return list(self._pool.map(partial(job, self._networks), items))

    def close(self) -> None:
        """Wait for jobs under way and free the networks."""
        if self._pool is not None:
            self._pool.shutdown()
        self._networks.close()
