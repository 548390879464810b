"""Wires settings to sources, stages and sinks; no arithmetic here.

::

    reader → Inbox → detect → found → recognise → results → the caller's thread → sinks
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facestream.engines.closing import Closing

from .analysis import load_models
from .core.config import Settings
from .core.errors import Closed, StageFailed
from .core.events import Event
from .core.types import (
    Frame,
    FrameResult,
    Image,
    LazyFrame,
)
from .detection.region import view_of
from .gallery import Gallery
from .ingest.file_reader import SourceState
from .ingest.readers import FrameSelection, Readers, SourceList, decoding_of, list_sources
from .metrics import Metrics
from .observability.report import Progress, Report
from .observability.run_statistics import Tally
from .observability.runtime_info import Running, RunningMetrics
from .recognition.align import align_faces
from .runtime.channel import Channel
from .runtime.memory import Trimmer, share_one_heap
from .runtime.source_queue import Inbox
from .runtime.supervisor import Supervisor
from .runtime.worker import Batching, run_stage
from .sinks.base import Sink
from .sources import BY_CPU, SourceOptions, SourceSpec
from .stages.detect import DetectStage
from .stages.recognise import RecogniseStage
from .stages.rules import open_matcher, rules_of, searching_of
from .stages.source_end import SourceEndsStage

log = logging.getLogger(__name__)

# A run that was told to stop may take this long to bring its threads home.
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _SourceEnded:
    """Travels behind the last result of a source."""

    source: str


_Output = FrameResult | Event | _SourceEnded


class Pipeline(Closing):
    """Who was seen in these sources, when, and how sure.

    ::

        with Pipeline(["clip.mp4"], gallery="people.db") as pipeline:
            for result in pipeline:
                for track in result.tracks:
                    print(result.frame.pts, track.identity.name, track.identity.similarity)

    Iterating yields each frame's result, in order within a source; the caller's pace holds the
    pipeline back. ``run()`` is for callers that only want the sinks. A pipeline runs once.

    Args:
        sources: files, folders, globs, camera numbers, URLs, names of the settings' cameras, or
            specs of ``expand_sources``; or the result of ``list_sources``.
        gallery: who is known; None recognises nobody. A path is opened, and closed at the end.
        settings: see `Settings`.
        sinks: get every result and event, in the thread that iterates.
        frames: ``all``: every frame is a result; ``searched``: only those that are searched for
            faces (``tracking.detect_every``), the others are decoded and passed over, which is
            quicker. Of a live source only the newest frame is a result either way.

    Raises:
        SourceError: none of the sources exists, or what was asked to decode them cannot here.
        ConfigError: a camera of the settings cannot be used.
        GalleryError: the gallery cannot be used.
        EngineError: the networks cannot run here.

    Attributes:
        running: says what runs, and why.
        metrics: counts what happens.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | SourceSpec] | SourceList,
        *,
        gallery: Gallery | str | Path | None = None,
        settings: Settings | None = None,
        sinks: Sequence[Sink] = (),
        frames: FrameSelection = "all",
    ) -> None:
        self.settings = settings or Settings()
        self.metrics = Metrics()
        self._tally = Tally(self.metrics)
        self._sinks = list(sinks)
        self._frames: FrameSelection = frames
        for sink in self._sinks:
            sink.count_in(self.metrics)
        self._resources = ExitStack()
        if not isinstance(sources, SourceList):
            sources = list_sources(sources, self.settings)
        self._specs, self._missing = sources.specs, sources.missing
        self._supervisor = Supervisor()
        self._inbox: Inbox[Frame | LazyFrame] = self._supervisor.own(Inbox())
        self._states: list[SourceState] = []
        self._recognise: RecogniseStage | None = None
        self._trimmer = Trimmer()
        self._live = any(spec.live for spec in self._specs)
        if self._live:
            share_one_heap()  # before the networks start their threads
        self._used = False
        try:
            self._load(gallery)
        except BaseException:
            self._resources.close()
            raise

    def _load(self, gallery: Gallery | str | Path | None) -> None:
        """Load the networks, try the decoders meanwhile, and open the gallery."""
        with ThreadPoolExecutor(1) as pool:
            deciding = pool.submit(decoding_of, self._specs, self.settings.runtime)
            models = self._resources.enter_context(load_models(self.settings))
            self._decoding = deciding.result()
        self._detector, self.encoder = models.detector, models.encoder
        searching = searching_of(self.settings.runtime)
        if isinstance(gallery, (str, Path)):
            gallery = self._resources.enter_context(
                Gallery(gallery, create="never", searching=searching)
            )
        self.gallery = gallery
        if gallery is not None:
            gallery.require_model(self.encoder.model_id)
        self._matcher = open_matcher(gallery, self.encoder.card, self.settings.recognition)
        self.running = Running(
            models.engines,
            index=None if gallery is None else gallery.index_info,
            decoding=self._decoding,
            serving=self.settings.runtime.serving(),
            searching=searching,
        )
        self._on_decoder = RunningMetrics(self.metrics, self.running).decoder

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
        # Full queues hold whole frames: few and small ones keep memory flat. A live frame grows
        # old in them, and waits better in its lane.
        batches = 1 if self._live else runtime.queue_batches
        capacity = batches * runtime.batch_frames
        found: Channel[FrameResult] = self._supervisor.channel(capacity, "found")
        results: Channel[_Output] = self._supervisor.channel(capacity, "results")
        for watched in (self._inbox.stats, found.stats, results.stats):
            self.metrics.watch(watched)
        self.metrics.watch_lanes(self._inbox.lanes)
        readers = Readers(
            self._specs,
            self._inbox,
            self.metrics,
            settings=self.settings,
            frames=self._frames,
            options=SourceOptions(decoding=self._decoding or BY_CPU, on_decoder=self._on_decoder),
            on_state=lambda event: _slip(results, event),
        )
        self._states = [*readers.states, *self._missing]
        live = {spec.name for spec in self._specs if spec.live}
        detect = DetectStage(
            self._detector,
            views=lambda name: view_of(self.settings, name, live=name in live),
        )
        recognise = self._recognise_stage(readers.states, results)
        batching = Batching(max_items=runtime.batch_frames, max_wait=runtime.max_wait)
        self._tally.start()
        readers.start(self._supervisor)
        if self._live:
            self._supervisor.on_stop(self._trimmer.stop)
            self._supervisor.spawn("trim", self._trimmer.run)
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

    def _recognise_stage(
        self, states: Sequence[SourceState], results: Channel[_Output]
    ) -> SourceEndsStage:
        stage = RecogniseStage(
            self.encoder,
            self._matcher,
            rules=lambda source: rules_of(self.settings.for_source(source), self.encoder.card),
            on_event=lambda event: _put(results, event),
            model=self.encoder.model_id,
            metrics=self.metrics,
        )
        self._recognise = stage
        return SourceEndsStage(
            stage, states, on_ended=lambda name: _put(results, _SourceEnded(name))
        )

    def _results(self, results: Channel[_Output]) -> Iterator[FrameResult]:
        """Hand results to the sinks and to the caller until the stream ends."""
        while True:
            try:
                item = results.get()
            except Closed:
                return
            if isinstance(item, FrameResult):
                self._tally.count(item)
                self._to_sinks(lambda sink, result=item: sink.write(result))
                yield item
            elif isinstance(item, _SourceEnded):
                self._to_sinks(lambda sink, name=item.source: sink.source_ended(name))
            else:
                self._tally.event(item)
                self._to_sinks(lambda sink, event=item: sink.event(event))

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
            interrupted = self._supervisor.stopping
            self._trimmer.stop()
            try:
                self._supervisor.join(STOP_SECONDS if interrupted else None)
            finally:
                self._tally.end(interrupted=interrupted)

    def progress(self) -> Progress:
        """Where the run is now."""
        return self._tally.progress(self._states, self._inbox.lanes())

    def report(self) -> Report:
        """What the run did so far."""
        return self._tally.report(
            self._states,
            self._inbox.lanes(),
            embedded=self._recognise.embedded if self._recognise is not None else 0,
            backends={"detector": self._detector.backend, "encoder": self.encoder.backend},
        )


def _put(results: Channel[_Output], item: _Output) -> None:
    try:
        results.put(item)
    except Closed:
        log.debug("nobody reads the results any more")


def _slip(results: Channel[_Output], event: Event) -> None:
    try:
        results.slip(event)
    except Closed:
        log.debug("nobody reads the results any more")
