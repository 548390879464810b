"""The workers that detect: one, and a second one for cameras whose frames cost far more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial

from facestream.engines.base import Engine

from ..core.types import Faces, Frame, FrameResult, Image, LazyFrame
from ..detection.base import Detector
from ..detection.region import View
from ..ingest.isolation import SourceIsolation
from ..runtime.channel import Channel, Inlet, Outlet, SharedOutlet
from ..runtime.priority import yield_to_other_threads
from ..runtime.source_queue import SourceQueue
from ..runtime.supervisor import Supervisor
from ..runtime.worker import Batching, OnBatch, run_worker
from .detect import DetectStage, frame_result


class LateDetector:
    """A `Detector` that is opened when it is first used, in the thread that uses it.

    Its threads inherit the priority of that thread.
    """

    def __init__(self, first: Detector, open_another: Callable[[], Detector]) -> None:
        self._first = first
        self._open = open_another
        self._own: Detector | None = None
        self._lock = threading.Lock()

    @property
    def min_face(self) -> int:
        return self._first.min_face

    @property
    def backend(self) -> str:
        return self._first.backend

    @property
    def engines(self) -> Mapping[str, Engine]:
        return self._first.engines

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        with self._lock:
            own = self._own = self._own or self._open()
        return own.detect_batch(images, min_face=min_face)

    def close(self) -> None:
        with self._lock:
            if self._own is not None:
                self._own.close()


def start_detection(
    supervisor: Supervisor,
    queue: SourceQueue[Frame | LazyFrame],
    found: Channel[FrameResult],
    *,
    detector: Detector,
    open_another: Callable[[], Detector] | None,
    views: Callable[[str], View],
    isolation: SourceIsolation,
    finished: Callable[[str], int],
    batching: Batching,
    on_batch: OnBatch,
) -> None:
    """Start the worker between the sources and ``found``, or two of them.

    Args:
        detector: stays the caller's to close.
        open_another: opens the detector of a second worker, which is closed in the end; None: one
            worker serves all sources.
        views: how a source is searched.
        finished: see `SourceQueue.lanes`.
    """

    def run(
        detector: Detector,
        inlet: Inlet[Frame | LazyFrame],
        outlet: Outlet[FrameResult],
        batching: Batching,
    ) -> None:
        stage = DetectStage(detector, views=views, isolation=isolation, charge=queue.charge)
        convert = partial(frame_result, isolation=isolation, charge=queue.charge)
        run_worker([stage], inlet, outlet, batching=batching, convert=convert, on_batch=on_batch)

    if open_another is None:
        supervisor.spawn("detect", lambda: run(detector, queue, found, batching))
        return
    usual, costly = queue.lanes(finished)
    outlet: SharedOutlet[FrameResult] = SharedOutlet(found, writers=2)
    second = LateDetector(detector, open_another)

    def run_costly() -> None:
        yield_to_other_threads()
        with closing(second):
            run(second, costly, outlet, Batching(max_items=1))

    supervisor.spawn("detect", lambda: run(detector, usual, outlet, batching))
    supervisor.spawn("detect costly", run_costly)
