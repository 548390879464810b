"""Threads that examine pictures, so that the event loop never waits for the networks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from facestream.engines.closing import Closing

from .problems import RequestRefused

T = TypeVar("T")


class PictureWork(Closing):
    """A bounded number of requests is examined, and waits; more are refused.

    Used from one event loop.

    Args:
        workers: examined at a time.
        waiting: that may wait.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self._most = workers + waiting
        self._inside = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="examine")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for a request, before its body is read.

        Raises:
            RequestRefused: 503, there is none.
        """
        if self._inside >= self._most:
            raise RequestRefused(503, "too many pictures wait to be examined", Retry_After="2")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """The result of this function, which is called in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what is examined."""
        self._pool.shutdown(cancel_futures=True)
