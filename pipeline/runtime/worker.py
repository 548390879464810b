"""What a stage is, and the loop of the worker that runs one or more of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

from ..core.errors import Closed, StageFailed
from ..core.types import Frame, FrameResult, LazyFrame
from ..metrics import (
    BATCH_FRAMES,
    FRAMES_DROPPED,
    STAGE_SECONDS,
    Metrics,
)
from .channel import Inlet, Outlet

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5


class Stage(Protocol):
    """A step of the pipeline: a function of a batch, called by one thread.

    It may hold frames back and hand them on in a later call, in order within each source; a
    stage that does so also has ``flush`` (see `Flushing`).
    """

    @property
    def name(self) -> str:
        """How errors and reports call it."""
        ...

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]: ...

    def close(self) -> None:
        """Free what it holds; called exactly once, by the worker's thread, whatever happened."""
        ...


@runtime_checkable
class Flushing(Protocol):
    """A stage that wants to know of the end of the stream."""

    def flush(self) -> list[FrameResult] | None:
        """The frames that it still held back. Not called when the run was aborted."""
        ...


@runtime_checkable
class Ticking(Protocol):
    """A stage for which time passes also when no frames come."""

    def tick(self) -> None:
        """Called between batches, and about every `TICK_SECONDS` while none comes."""
        ...


@dataclass(frozen=True, slots=True)
class Batching:
    """How a worker gathers a batch.

    Attributes:
        max_items: most frames in a batch.
        max_wait: seconds to linger for more frames after the first. Lingering pays once, at the
            first worker: those behind get whole batches and keep the default.
    """

    max_items: int = 4
    max_wait: float = 0.0


def run_stage(
    stages: Sequence[Stage],
    inlet: Inlet[Frame | LazyFrame | FrameResult],
    outlet: Outlet[FrameResult] | None,
    *,
    batching: Batching = Batching(),
    metrics: Metrics | None = None,
) -> None:
    """Move batches from ``inlet`` through the stages to ``outlet`` until the stream ends.

    Frames from an inbox are wrapped as `FrameResult`, those not developed yet are developed; one
    that cannot be is left out, counted as dropped. A worker takes its next batch only when the
    outlet has room for it: a live frame waits where a newer one can still take its place. Stages
    that are `Ticking` are told when nothing came for a while. At the end of the stream each stage
    is flushed, the outlet closed and every stage closed. When the outlet closes first (nobody
    wants the results) the inlet is aborted, so that the producers stop too. Returns when ended.

    Args:
        stages: run one after another in this thread.
        inlet: where frames come from.
        outlet: where results go; None at the end of the line, where results are let go.
        batching: size of batches and how long to wait for them.
        metrics: gets the time and batch size of each stage.

    Raises:
        StageFailed: a stage raised; names it, with the original error as ``__cause__``.
    """
    worker = _Worker(stages, outlet, metrics)
    with ExitStack() as stack:
        for stage in stages:
            stack.callback(_close_stage, stage)
        # Runs before the stages close: neighbours need not wait for that.
        stack.callback(_close_links, inlet, outlet, worker)
        try:
            while True:
                worker.wait_for_room(batching.max_items)
                items = inlet.get_batch(batching.max_items, batching.max_wait, worker.patience)
                worker.tick()
                worker.push(_developed(items, metrics))
        except Closed:
            log.debug("%s: stream ended", worker.name)
        if not inlet.aborted and not worker.refused:
            worker.flush()
        worker.finished = True


def _developed(
    items: Sequence[Frame | LazyFrame | FrameResult], metrics: Metrics | None
) -> list[FrameResult]:
    found: list[FrameResult] = []
    for item in items:
        if isinstance(item, FrameResult):
            found.append(item)
            continue
        frame = item.to_frame() if isinstance(item, LazyFrame) else item
        if frame is not None:
            found.append(FrameResult(frame))
        elif metrics is not None:
            metrics.add(FRAMES_DROPPED, source=item.source, cause="corrupt")
    return found


class _Worker:
    """The stages of one worker with what happened to it."""

    def __init__(
        self,
        stages: Sequence[Stage],
        outlet: Outlet[FrameResult] | None,
        metrics: Metrics | None,
    ) -> None:
        self.name = "+".join(stage.name for stage in stages)
        self._ticking = [stage for stage in stages if isinstance(stage, Ticking)]
        self.patience = TICK_SECONDS if self._ticking else None
        self.refused = False  # the outlet was closed by its reader
        self.finished = False
        self._stages = stages
        self._outlet = outlet
        self._metrics = metrics

    def wait_for_room(self, items: int) -> None:
        """Until the outlet can take a whole batch; raises Closed when nobody reads."""
        if self._outlet is not None:
            try:
                self._outlet.wait_for_room(items)
            except Closed:
                self.refused = True
                raise

    def tick(self) -> None:
        """Tell the stages that want to know that time passes."""
        for stage in self._ticking:
            try:
                stage.tick()
            except Exception as error:
                raise StageFailed(stage.name, error) from error

    def push(self, batch: list[FrameResult], *, first: int = 0) -> None:
        """Through the stages from ``first`` on and out; raises Closed when nobody reads."""
        for stage in self._stages[first:]:
            if not batch:
                return
            batch = self._run(stage, batch)
        if self._outlet is not None and batch:
            try:
                self._outlet.put_all(batch)
            except Closed:
                self.refused = True
                raise

    def flush(self) -> None:
        """Hand on what the stages held back, each through those behind it."""
        for number, stage in enumerate(self._stages):
            if not isinstance(stage, Flushing):
                continue
            try:
                rest = stage.flush()
            except Exception as error:
                raise StageFailed(stage.name, error) from error
            if rest:
                try:
                    self.push(list(rest), first=number + 1)
                except Closed:
                    return

    def _run(self, stage: Stage, batch: list[FrameResult]) -> list[FrameResult]:
        start = perf_counter()
        try:
            result = stage(batch)
        except Exception as error:
            # A stage that meets Closed inside has failed too: only links end a stream.
            raise StageFailed(stage.name, error) from error
        if self._metrics is not None:
            self._metrics.observe(STAGE_SECONDS, perf_counter() - start, stage=stage.name)
            self._metrics.observe(BATCH_FRAMES, len(batch), stage=stage.name)
        return result


def _close_stage(stage: Stage) -> None:
    try:
        stage.close()
    except Exception as error:
        raise StageFailed(stage.name, error) from error


def _close_links(
    inlet: Inlet[Frame | LazyFrame | FrameResult],
    outlet: Outlet[FrameResult] | None,
    worker: _Worker,
) -> None:
    aborted = inlet.aborted or not worker.finished or worker.refused
    inlet.close(discard=True)
    if outlet is not None:
        outlet.close(discard=aborted)
