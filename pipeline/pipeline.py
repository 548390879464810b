"""Wires settings to sources, stages and sinks; no arithmetic here.

::

    reader → Inbox → detect → found → recognise → results → the caller's thread → sinks
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .channel import Channel
from .config import Settings
from .errors import Closed, SourceError, StageFailed
from .events import Sighting
from .gallery import Gallery
from .gallery.decision import Thresholds
from .inbox import Inbox
from .metrics import FACES, FRAME_AGE, FRAMES_OUT, Metrics
from .reader import Reader, SourceState
from .report import (
    Progress,
    Report,
    peak_memory_bytes,
    queue_reports,
    stage_reports,
)
from .sinks.base import Sink
from .sources import SourceOptions, SourceSpec, expand_sources
from .stage import Batching, run_stage
from .stages.detect import DetectStage
from .stages.looks import LookPolicy
from .stages.matching import Matcher
from .stages.recognise import Ended, RecogniseStage, TrackingRules
from .stages.sightings import sighting_of
from .supervisor import Supervisor
from .types import Frame, FrameResult, Image
from .vision.align import align_faces
from .vision.encoder import Encoder
from .vision.mtcnn import Mtcnn

log = logging.getLogger(__name__)

# A run that was told to stop may take this long to bring its threads home.
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _SourceEnded:
    """Travels behind the last result of a source."""

    source: str


_Output = FrameResult | Sighting | _SourceEnded


class Pipeline:
    """Who was seen in these sources, when, and how sure.

    ::

        with Pipeline(["clip.mp4"], gallery="people.db") as pipeline:
            for result in pipeline:
                for track in result.tracks:
                    print(result.frame.pts, track.identity.name, track.identity.similarity)

    Iterating yields each frame's result, in order within a source; the caller's pace holds the
    pipeline back. ``run()`` is for callers that only want the sinks. A pipeline runs once.

    Args:
        sources: files, folders, globs, camera numbers, URLs, or specs of ``expand_sources``.
        gallery: who is known; None recognises nobody. A path is opened, and closed at the end.
        settings: see `Settings`.
        sinks: get every result and sighting, in the thread that iterates.

    Raises:
        SourceError: none of the sources exists.
        GalleryError: the gallery cannot be used.
        EngineError: the networks cannot run here.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | SourceSpec],
        *,
        gallery: Gallery | str | Path | None = None,
        settings: Settings | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._began = time.monotonic()
        self.settings = settings or Settings()
        self.metrics = Metrics()
        self._sinks = list(sinks)
        self._resources = ExitStack()
        self._specs, self._missing = _expanded(sources)
        self._supervisor = Supervisor()
        self._inbox: Inbox[Frame] = self._supervisor.own(Inbox())
        self._states: dict[str, SourceState] = {}
        self._unfinished: deque[SourceState] = deque()
        self._sightings = 0
        self._faces = 0
        self._started: float | None = None
        self._ended: float | None = None
        self._first_result: float | None = None
        self._source: str | None = None
        self._used = False
        self._interrupted = False
        try:
            self._load(gallery)
        except BaseException:
            self._resources.close()
            raise

    def _load(self, gallery: Gallery | str | Path | None) -> None:
        """Networks and gallery, side by side: most of the start is compiling the networks."""
        settings = self.settings
        detector, runtime = settings.detector, settings.runtime
        with ThreadPoolExecutor(2) as pool:
            mtcnn = pool.submit(
                Mtcnn,
                mode=detector.mode,
                min_face=detector.min_face,
                factor=detector.factor,
                thresholds=detector.thresholds,
                backend=runtime.backend,
                threads=runtime.threads,
            )
            encoder = pool.submit(
                Encoder,
                backend=runtime.backend,
                threads=runtime.threads,
                max_batch=settings.encoder.max_batch,
            )
        self._detector = mtcnn.result()
        self._resources.callback(self._detector.close)
        self.encoder = encoder.result()
        self._resources.callback(self.encoder.close)
        if isinstance(gallery, (str, Path)):
            gallery = self._resources.enter_context(Gallery(gallery, create="never"))
        self.gallery = gallery
        if gallery is not None:
            gallery.require_model(self.encoder.model_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs and free the networks; may be repeated."""
        if self._used:
            self._supervisor.abort()
        self._resources.close()

    def warm_up(self, image: Image) -> None:
        """Compile the networks for frames of this size (H×W×3 BGR uint8) before they come."""
        found = self._detector.detect(image)
        self.encoder.embed(align_faces(image, found.landmarks))

    def stop(self) -> None:
        """End cleanly: what was read is processed. From any thread or a signal handler."""
        self._supervisor.stop()

    def abort(self) -> None:
        """End at once: what waits is thrown away, what was written stays whole."""
        self._supervisor.abort()

    def run(self) -> Report:
        """Process everything; the sinks get the results.

        Raises:
            StageFailed: a stage, an engine or a sink failed.
        """
        for _ in self:
            pass
        return self.report()

    def __iter__(self) -> Iterator[FrameResult]:
        if self._used:
            raise RuntimeError("a pipeline runs once; make another one")
        self._used = True
        results = self._start()
        finished = False
        try:
            yield from self._results(results)
            finished = True
        finally:
            # A caller that leaves the loop early does not want the rest.
            if not finished:
                self._supervisor.abort()
            self._finish()

    def _start(self) -> Channel[_Output]:
        """Start the threads; the returned channel ends when everything is done."""
        runtime = self.settings.runtime
        # Full queues hold whole frames: few and small ones keep memory flat.
        capacity = runtime.queue_batches * runtime.batch_frames
        found: Channel[FrameResult] = self._supervisor.channel(capacity, "found")
        results: Channel[_Output] = self._supervisor.channel(capacity, "results")
        for watched in (self._inbox.stats, found.stats, results.stats):
            self.metrics.watch(watched)
        reader = Reader(
            self._specs,
            self._inbox,
            self.metrics,
            lane_frames=runtime.inbox_frames,
            options=SourceOptions(max_frames=runtime.max_frames),
        )
        self._unfinished.extend(reader.states)
        self._states = {state.name: state for state in [*reader.states, *self._missing]}
        detect = DetectStage(self._detector, every=self.settings.tracking.detect_every)
        recognise = self._recognise_stage(results)
        batching = Batching(max_items=runtime.batch_frames, max_wait=runtime.max_wait)
        self._started = time.monotonic()
        self._supervisor.on_stop(reader.stop)
        self._supervisor.spawn("read", lambda: _read_all(reader, self._inbox))
        self._supervisor.spawn(
            "detect",
            lambda: run_stage(
                [detect], self._inbox, found, batching=batching, metrics=self.metrics
            ),
        )
        self._supervisor.spawn(
            "recognise",
            lambda: run_stage(
                [recognise],
                found,
                results,
                batching=Batching(max_items=runtime.batch_frames),
                metrics=self.metrics,
            ),
        )
        return results

    def _recognise_stage(self, results: Channel[_Output]) -> _ReportingStage:
        settings = self.settings
        tracking, recognition = settings.tracking, settings.recognition
        thresholds = Thresholds.from_card(
            self.encoder.card,
            similarity=recognition.threshold,
            margin=recognition.margin,
            max_sigma=recognition.max_sigma,
            min_size=recognition.min_face_to_name,
        )

        def announce(ended: Ended) -> None:
            event = sighting_of(ended, min_faces=tracking.min_faces, model=self.encoder.model_id)
            if event is not None:
                _put(results, event)

        stage = RecogniseStage(
            self.encoder,
            Matcher(self.gallery, thresholds),
            rules=TrackingRules(
                min_iou=tracking.iou,
                absence_seconds=tracking.absence_seconds,
                looks=LookPolicy(policy=settings.encoder.looks),
            ),
            on_ended=announce,
        )
        self._recognise = stage
        return _ReportingStage(
            stage, self._unfinished, lambda name: _put(results, _SourceEnded(name))
        )

    def _results(self, results: Channel[_Output]) -> Iterator[FrameResult]:
        """Hand results to the sinks and to the caller until the stream ends."""
        while True:
            try:
                item = results.get()
            except Closed:
                return
            if isinstance(item, Sighting):
                self._sightings += 1
                self._to_sinks(lambda sink, event=item: sink.sighting(event))
            elif isinstance(item, _SourceEnded):
                self._to_sinks(lambda sink, name=item.source: sink.source_ended(name))
            else:
                self._count(item)
                self._to_sinks(lambda sink, result=item: sink.write(result))
                yield item

    def _count(self, result: FrameResult) -> None:
        now = time.monotonic()
        if self._first_result is None:
            self._first_result = now - self._began
        self._faces += len(result.faces)
        self._source = result.frame.source
        self.metrics.add(FRAMES_OUT, source=result.frame.source)
        self.metrics.add(FACES, len(result.faces), source=result.frame.source)
        self.metrics.observe(FRAME_AGE, now - result.frame.captured_at, source=result.frame.source)

    def _to_sinks(self, call: Callable[..., Any]) -> None:
        for sink in self._sinks:
            try:
                call(sink)
            except Exception as error:
                raise StageFailed(type(sink).__name__, error) from error

    def _finish(self) -> None:
        """Bring the threads home; the first error comes out, and the sinks are closed anyway."""
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.callback(sink.close)
            self._interrupted = self._supervisor.stopping
            try:
                self._supervisor.join(STOP_SECONDS if self._supervisor.stopping else None)
            finally:
                self._ended = time.monotonic()

    def progress(self) -> Progress:
        """Where the run is now."""
        states = list(self._states.values())
        expected = [s.expected for s in states if not s.problems or s.opened]
        frames = int(self.metrics.value(FRAMES_OUT))
        known = all(n is not None for n in expected)
        seconds = time.monotonic() - self._started if self._started is not None else 0.0
        return Progress(
            frames=frames,
            total=sum(n or 0 for n in expected) if known and expected else None,
            faces=self._faces,
            dropped=sum(self._dropped().values()),
            fps=frames / seconds if seconds > 0 else 0.0,
            queues={queue.name: queue.depth for queue in self.metrics.queues()},
            source=self._source,
        )

    def report(self) -> Report:
        """What the run did so far."""
        now = self._ended if self._ended is not None else time.monotonic()
        seconds = now - self._started if self._started is not None else 0.0
        frames = int(self.metrics.value(FRAMES_OUT))
        queues, slowest = queue_reports(self.metrics)
        return Report(
            sources=tuple(state.report() for state in self._states.values()),
            frames=frames,
            faces=self._faces,
            embedded=self._recognise.embedded if self._used else 0,
            sightings=self._sightings,
            dropped=self._dropped(),
            seconds=seconds,
            fps=frames / seconds if seconds > 0 else 0.0,
            first_result_seconds=self._first_result,
            stages=stage_reports(self.metrics),
            queues=queues,
            limiting_queue=slowest,
            peak_memory_bytes=peak_memory_bytes(),
            backends={"detector": self._detector.backend, "encoder": self.encoder.backend},
            interrupted=self._interrupted or (self._ended is None and self._supervisor.stopping),
        )

    def _dropped(self) -> dict[str, int]:
        dropped: dict[str, int] = {}
        for lane in self._inbox.lanes():
            for cause, count in lane.dropped.items():
                dropped[cause] = dropped.get(cause, 0) + count
        return dropped


class _ReportingStage:
    """The recogniser, which also ends the tracks of sources that are done."""

    def __init__(
        self,
        stage: RecogniseStage,
        unfinished: deque[SourceState],
        on_source_ended: Callable[[str], None],
    ) -> None:
        self.name = stage.name
        self._stage = stage
        self._unfinished = unfinished
        self._on_source_ended = on_source_ended
        self._by_name = {state.name: state for state in unfinished}
        self._closing: list[str] = []

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        # Sources whose last frame was handed on in an earlier call are over now.
        self._end_finished()
        done = self._stage(batch)
        for result in done:
            state = self._by_name.get(result.frame.source)
            if state is not None:
                state.processed += 1
        return done

    def flush(self) -> None:
        """End what is left."""
        self._stage.flush()
        self._end_finished()

    def close(self) -> None:
        """The networks belong to the pipeline."""

    def _end_finished(self) -> None:
        for state in [s for s in self._unfinished if s.finished]:
            self._unfinished.remove(state)
            self._stage.end_source(state.name)
            self._on_source_ended(state.name)


def _read_all(reader: Reader, inbox: Inbox[Frame]) -> None:
    try:
        reader.run()
    finally:
        inbox.seal()


def _put(results: Channel[_Output], item: _Output) -> None:
    try:
        results.put(item)
    except Closed:
        log.debug("nobody reads the results any more")


def _expanded(
    sources: Sequence[str | Path | SourceSpec],
) -> tuple[list[SourceSpec], list[SourceState]]:
    """What there is to read, and the sources that do not exist.

    Raises:
        SourceError: none exists.
    """
    specs: list[SourceSpec] = []
    missing: list[SourceState] = []
    first: SourceError | None = None
    for source in sources:
        if isinstance(source, SourceSpec):
            specs.append(source)
            continue
        try:
            specs += expand_sources([str(source)])
        except SourceError as error:
            first = first or error
            missing.append(SourceState(str(source), done=True, problems=[str(error)]))
    if not specs:
        raise first or SourceError("no sources were given; name a video, a folder or a camera")
    return specs, missing
