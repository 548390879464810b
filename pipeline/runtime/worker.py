"""What a stage is, and the loop of the worker that runs one or more of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from ..core.errors import Closed, StageFailed
from .channel import Inlet, Outlet

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5

T = TypeVar("T")
Item = TypeVar("Item")
OnBatch = Callable[[str, float, int], None]
"""Gets a stage's name, the seconds of one batch, and the items in it."""


class Stage(Protocol[Item]):
    """A step of the pipeline: a function of a batch, called by one thread.

    It may hold items back and return them from a later call, in order within each source; a
    stage that does so also has ``flush`` (see `Flushing`).
    """

    @property
    def name(self) -> str:
        """In errors and reports."""
        ...

    def __call__(self, batch: list[Item]) -> list[Item]: ...

    def close(self) -> None:
        """Free what it holds; called exactly once, by the worker's thread, also after an error."""
        ...


@runtime_checkable
class Flushing(Protocol):
    """A stage with work to do at the end of the stream."""

    def flush(self) -> list[Any] | None:
        """The items that it still holds back. Not called when the run was aborted."""
        ...


@runtime_checkable
class Ticking(Protocol):
    """A stage with work to do also while no items arrive."""

    def tick(self) -> None:
        """Called between batches, and about every `TICK_SECONDS` while none arrives."""
        ...


@runtime_checkable
class Deferring(Protocol):
    """A stage that holds items back and works on them piece by piece."""

    @property
    def busy(self) -> bool:
        """It has work to go on with: it is called again at once, maybe with an empty batch."""
        ...

    def hurry(self) -> None:
        """The stream has ended: what may be left out of the rest is left out."""
        ...


@dataclass(frozen=True, slots=True)
class Batching:
    """How a worker gathers a batch.

    Attributes:
        max_items: most items in a batch.
        max_wait: seconds to wait for more items after the first. It pays at the first worker only:
            those behind get whole batches.
    """

    max_items: int = 4
    max_wait: float = 0.0


def run_worker(
    stages: Sequence[Stage[Item]],
    inlet: Inlet[Any],
    outlet: Outlet[Item] | None,
    *,
    batching: Batching = Batching(),
    convert: Callable[[Any], Item | None] | None = None,
    on_batch: OnBatch | None = None,
) -> None:
    """Move batches from ``inlet`` through the stages to ``outlet`` until the stream ends.

    A worker takes its next batch only when the outlet has room for it: a live frame waits where a
    newer one can still replace it. At the end of the stream each stage is flushed, the outlet
    closed and every stage closed. When the outlet closes first (its reader is gone) the inlet is
    aborted, so that the producers stop too.

    Args:
        stages: run one after another in this thread.
        outlet: where results go; None discards them.
        convert: converts an item when it is taken; it leaves the item out by returning None.

    Raises:
        StageFailed: a stage raised; names it, with the original error as ``__cause__``.
    """
    worker = _Worker(stages, outlet, on_batch)
    with ExitStack() as stack:
        for stage in stages:
            stack.callback(_named, stage, stage.close)
        # Runs before the stages close: neighbours need not wait for that.
        stack.callback(_close_links, inlet, outlet, worker)
        try:
            while True:
                worker.wait_for_room(batching.max_items)
                patience = 0.0 if worker.busy else worker.patience
                items = inlet.get_batch(batching.max_items, batching.max_wait, patience)
                worker.tick()
                if convert is not None:
                    items = [made for made in map(convert, items) if made is not None]
                worker.push(list(items))
        except Closed:
            log.debug("%s: stream ended", worker.name)
        if not inlet.aborted and not worker.refused:
            worker.drain()
            worker.flush()
        worker.finished = True


class _Worker(Generic[Item]):
    def __init__(
        self, stages: Sequence[Stage[Item]], outlet: Outlet[Item] | None, on_batch: OnBatch | None
    ) -> None:
        self.name = "+".join(stage.name for stage in stages)
        self._ticking = [stage for stage in stages if isinstance(stage, Ticking)]
        self._deferring = [stage for stage in stages if isinstance(stage, Deferring)]
        self.patience = TICK_SECONDS if self._ticking else None
        self.refused = False  # the outlet was closed by its reader
        self.finished = False
        self._stages = stages
        self._outlet = outlet
        self._on_batch = on_batch

    @property
    def busy(self) -> bool:
        """A stage has work to go on with."""
        return any(stage.busy for stage in self._deferring)

    def wait_for_room(self, items: int) -> None:
        """Until the outlet can take a whole batch; raises Closed when its reader is gone."""
        if self._outlet is not None:
            try:
                self._outlet.wait_for_room(items)
            except Closed:
                self.refused = True
                raise

    def tick(self) -> None:
        for stage in self._ticking:
            _named(stage, stage.tick)

    def push(self, batch: list[Item], *, first: int = 0) -> None:
        """Through the stages from ``first`` on and out; raises Closed when its reader is gone."""
        for stage in self._stages[first:]:
            if batch or (isinstance(stage, Deferring) and stage.busy):
                batch = self._run(stage, batch)
        if self._outlet is not None and batch:
            try:
                self._outlet.put_all(batch)
            except Closed:
                self.refused = True
                raise

    def drain(self) -> None:
        """Let the stages finish what they hold."""
        for stage in self._deferring:
            _named(stage, stage.hurry)
        with suppress(Closed):
            while self.busy:
                self.push([])

    def flush(self) -> None:
        """Pass on what the stages held back, each through those behind it."""
        with suppress(Closed):
            for number, stage in enumerate(self._stages, start=1):
                if isinstance(stage, Flushing):
                    self.push(list(_named(stage, stage.flush) or ()), first=number)

    def _run(self, stage: Stage[Item], batch: list[Item]) -> list[Item]:
        start = perf_counter()
        result = _named(stage, lambda: stage(batch))
        if self._on_batch is not None:
            self._on_batch(stage.name, perf_counter() - start, len(batch))
        return result


def _named(stage: Any, call: Callable[[], T]) -> T:
    """The call's result; its error names the stage."""
    try:
        return call()
    except Exception as error:
        # A stage that meets Closed inside has failed too: only links end a stream.
        raise StageFailed(stage.name, error) from error


def _close_links(inlet: Inlet[Any], outlet: Outlet[Any] | None, worker: _Worker[Any]) -> None:
    aborted = inlet.aborted or not worker.finished or worker.refused
    inlet.close(discard=True)
    if outlet is not None:
        outlet.close(discard=aborted)
