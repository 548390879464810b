"""Wires settings to sources, stages and sinks; no arithmetic here.

::

    reader → SourceQueue → detect → found → recognise → results → the caller's thread → sinks
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from facestream.engines.closing import Closing
from facestream.engines.devices import usable_cpus
from facestream.engines.errors import EngineError

from .analysis import FaceAnalyzer
from .core.config import Settings
from .core.errors import Closed, FacestreamError, OutputError
from .core.events import Event
from .core.location import DatabaseUrl, Location
from .core.types import Frame, FrameResult, Image, LazyFrame
from .detection.base import Detector, open_detector
from .detection.region import view_of
from .gallery import Gallery
from .gallery.gallery import searching_of
from .ingest.file_reader import SourceState
from .ingest.isolation import SourceIsolation
from .ingest.readers import FrameSelection, Readers, SourceList, decoding_of, list_sources
from .ingest.watched_folder import WatchedFolder
from .metrics.store import Metrics
from .observability.report import Progress, Report
from .observability.run_statistics import RunStatistics
from .observability.runtime_info import RuntimeInfo, RuntimeInfoMetrics
from .runtime.channel import Channel
from .runtime.memory import Trimmer, share_one_heap
from .runtime.source_queue import SourceQueue
from .runtime.supervisor import Supervisor
from .runtime.worker import Batching, run_worker
from .sinks.base import Sink
from .sinks.degrading import OutputHealth
from .sinks.fan_out import FanOut
from .sources import BY_CPU, SourceOptions, SourceSpec
from .stages.detect_workers import start_detection
from .stages.recognise import RecogniseStage
from .stages.rules import rules_of
from .stages.source_end import SourceEndsStage

log = logging.getLogger(__name__)

# How long a stopped run waits for its threads.
STOP_SECONDS = 30.0
# Errors of what serves all sources end the run; any other one in a source's frames is its own.
FATAL = (EngineError, FacestreamError, MemoryError)


@dataclass(frozen=True, slots=True)
class _SourceEnded:
    """Follows the last result of a source."""

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
        gallery: who is known; None: every face is unknown. A path or URL is opened and closed here.
        settings: see `Settings`.
        sinks: get every result and event, in the thread that iterates: sinks, or arguments of
            `open_sink` (``kafka://host:9092/topic``). Each is closed once: at the end of the run,
            or with the pipeline if it never runs.
        frames: ``all``: every frame is a result; ``searched``: only those that are searched for
            faces (``tracking.detect_every``); the others are decoded and skipped, which is faster.
            Of a live source only the newest frame is a result either way.
        watched: a folder whose files are read as they are finished, after ``sources``, until the
            pipeline is stopped.
        analyzer: the networks and the search over ``gallery``, which stay the caller's to close;
            None: the pipeline has its own.

    Raises:
        SourceError: none of the sources exists, or the requested hardware cannot decode them.
        ConfigError: a camera of the settings cannot be used.
        GalleryError: the gallery cannot be used.
        EngineError: the networks cannot run here.
        OutputError: a sink cannot be opened.

    Attributes:
        analyzer: the networks and the matcher.
        calibrated: the calibration of the gallery's database; None: that of the models.
        running: what runs, and why.
        metrics: counts what happens.
    """

    def __init__(
        self,
        sources: Sequence[str | Path | SourceSpec] | SourceList,
        *,
        gallery: Gallery | str | Location | None = None,
        settings: Settings | None = None,
        sinks: Sequence[Sink | str] = (),
        frames: FrameSelection = "all",
        watched: WatchedFolder | None = None,
        analyzer: FaceAnalyzer | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.metrics = Metrics()
        self._statistics = RunStatistics(self.metrics)
        embeddings = self.settings.events.embeddings
        self._outputs = OutputHealth(self.metrics)
        self._lost = 0
        self._sinks = FanOut(sinks, embeddings="added" if embeddings else "left_out")
        self._frames: FrameSelection = frames
        self._watched = watched
        self._resources = ExitStack()
        self._supervisor = Supervisor()
        self._queue: SourceQueue[Frame | LazyFrame] = self._supervisor.own(SourceQueue())
        self._states: list[SourceState] = []
        self._recognise: RecogniseStage | None = None
        self._trimmer = Trimmer()
        self._used = False
        try:
            self._sinks.count_in(self.metrics)
            if not isinstance(sources, SourceList):
                sources = list_sources(sources, self.settings)
            self._specs, self._missing = sources.specs, sources.missing
            self._live = any(spec.live for spec in self._specs)
            if self._live:
                self._sinks.go_on_after_errors(self._outputs)
                share_one_heap()  # before the networks start their threads
            self._load(gallery, analyzer)
        except BaseException:
            self.close()
            raise

    def _load(
        self, gallery: Gallery | str | Location | None, analyzer: FaceAnalyzer | None
    ) -> None:
        """Open the gallery, then load the networks while the decoders are tried."""
        searching = searching_of(self.settings.runtime)
        if isinstance(gallery, (str, Path, DatabaseUrl)):
            gallery = self._resources.enter_context(
                Gallery(gallery, create="never", searching=searching)
            )
        self.gallery = gallery
        self.calibrated = None if gallery is None else gallery.calibrated()
        if analyzer is None:
            analyzer = FaceAnalyzer(self.settings, gallery=gallery)
            self._resources.enter_context(analyzer)
        self.analyzer = analyzer
        with ThreadPoolExecutor(1) as pool:
            deciding = pool.submit(decoding_of, self._specs, self.settings.runtime)
            self.analyzer.load()
            # Kept for the report: a closed analyzer would load its networks again.
            self._detector, self._encoder = self.analyzer.detector, self.analyzer.encoder
            self._decoding = deciding.result()
        self.running = RuntimeInfo(
            self.analyzer.engines,
            index=None if gallery is None else gallery.index_info,
            decoding=self._decoding,
            serving=self.settings.runtime.serving(),
            searching=searching,
        )
        self._on_decoder = RuntimeInfoMetrics(self.metrics, self.running).decoder

    def close(self) -> None:
        """Stop what runs, free the networks and close the sinks; may be repeated."""
        if self._used:
            self._supervisor.abort()
        with self._sinks:
            self._resources.close()

    def warm_up(self, image: Image) -> None:
        """Compile the networks for frames of this size (H×W×3 BGR uint8) in advance."""
        self.analyzer.analyze(image)

    def stop(self) -> None:
        """End cleanly: what was read is processed. From any thread or a signal handler."""
        self._supervisor.stop()

    def abort(self) -> None:
        """End at once: queued frames are discarded, files that were written are complete."""
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
            if not finished:  # the caller left the loop
                self._supervisor.abort()
            self._finish()

    def _start(self) -> Channel[_Output]:
        """Start the threads; the returned channel ends when everything is done."""
        runtime = self.settings.runtime
        # Full queues hold whole frames: few and small ones keep memory flat. A live frame grows
        # old in them, and waits better in its buffer.
        batches = 1 if self._live else runtime.queue_batches
        capacity = batches * runtime.batch_frames
        found: Channel[FrameResult] = self._supervisor.channel(capacity, "found")
        results: Channel[_Output] = self._supervisor.channel(capacity, "results")
        for watched in (self._queue.stats, found.stats, results.stats):
            self.metrics.watch(watched)
        self.metrics.watch_sources(self._queue.source_stats)
        isolation = SourceIsolation(self.metrics, fatal=FATAL)
        readers = Readers(
            self._specs,
            self._queue,
            self.metrics,
            settings=self.settings,
            frames=self._frames,
            options=SourceOptions(decoding=self._decoding or BY_CPU, on_decoder=self._on_decoder),
            on_state=lambda event: _put(results.put_now, event),
            isolation=isolation,
            watched=self._watched,
            on_new=lambda state: self._add(state, isolation, recognise),
        )
        self._states = [*readers.states, *self._missing]
        by_name = {state.name: state for state in readers.states}
        live = {spec.name for spec in self._specs if spec.live}
        encoder, another = self.analyzer.encoder, self._another_detector()
        self._recognise = RecogniseStage(
            encoder,
            self.analyzer.matcher,
            rules=lambda name: rules_of(
                self.settings.for_source(name),
                encoder.card,
                live=name in live,
                calibrated=self.calibrated,
            ),
            on_event=lambda event: _put(results.put, event),
            model=self.analyzer.model_id,
            metrics=self.metrics,
            isolation=isolation,
            shared=another is not None,
        )
        recognise = SourceEndsStage(
            self._recognise,
            readers.states,
            on_ended=lambda name: _put(results.put, _SourceEnded(name)),
            on_processed=self._queue.wake,
        )
        batching = Batching(max_items=runtime.batch_frames, max_wait=runtime.max_wait)
        self._statistics.start(self._states)
        readers.start(self._supervisor)
        if self._live:
            self._supervisor.on_stop(self._trimmer.stop)
            self._supervisor.spawn("trim", self._trimmer.run)
        start_detection(
            *(self._supervisor, self._queue, found),
            detector=self._detector,
            open_another=another,
            views=lambda name: view_of(
                self.settings, name, live=name in live, resident=self._detector.backend == "torch"
            ),
            isolation=isolation,
            finished=lambda name: by_name[name].processed + by_name[name].lost,
            batching=batching,
            on_batch=self.metrics.observe_batch,
        )
        batching_after = Batching(max_items=runtime.batch_frames)
        self._supervisor.spawn(
            "recognise",
            lambda: run_worker(
                *([recognise], found, results),
                batching=batching_after,
                on_batch=self.metrics.observe_batch,
            ),
        )
        return results

    def _another_detector(self) -> Callable[[], Detector] | None:
        """Opens a detector for costly sources, where there are others to protect from them."""
        engines = self._detector.engines.values()
        on_cpu = bool(engines) and all("cuda" not in engine.device for engine in engines)
        settings = self.settings
        if not self._live or len(self._specs) < 2 or not on_cpu:
            return None
        # With as many threads as the first, it would have a larger part of the processors than
        # its priority says.
        serving = settings.runtime.serving()
        threads = max(1, (serving.threads or usable_cpus()) // 2)
        return lambda: open_detector(settings.detector, replace(serving, threads=threads))

    def _add(self, state: SourceState, isolation: SourceIsolation, ends: SourceEndsStage) -> None:
        """A file of the watched folder is read next."""
        isolation.watch([state])
        self._states.append(state)
        ends.add(state)

    def _results(self, results: Channel[_Output]) -> Iterator[FrameResult]:
        """Hand results to the sinks and to the caller until the stream ends."""
        while True:
            try:
                item = results.get()
            except Closed:
                return
            if isinstance(item, FrameResult):
                self._statistics.count(item)
                self._sinks.write(item)
                yield item
            elif isinstance(item, _SourceEnded):
                self._sinks.source_ended(item.source)
                self._completed(item.source)
            else:
                self._statistics.event(item)
                self._sinks.event(item)

    def _completed(self, source: str) -> None:
        if self._watched is None:
            return
        before, self._lost = self._lost, self._outputs.lost
        if before != self._lost:
            log.warning("%s is read again by the next run: an output lost some of it", source)
            return
        if any(state.name == source and state.complete for state in reversed(self._states)):
            try:
                self._watched.completed(source)
            except OutputError as error:
                if not self._live:
                    raise
                log.warning("%s is read again by the next run: %s", source, error)

    def _finish(self) -> None:
        """Wait for the threads and close the sinks; raises the first error."""
        with self._sinks:
            interrupted = self._supervisor.stopping
            self._trimmer.stop()
            try:
                self._supervisor.join(STOP_SECONDS if interrupted else None)
            finally:
                self._statistics.end(interrupted=interrupted)

    def progress(self) -> Progress:
        """Where the run is now."""
        return self._statistics.progress(dropped=self._queue.dropped)

    def report(self) -> Report:
        """What the run did so far."""
        return self._statistics.report(
            embedded=self._recognise.embedded if self._recognise is not None else 0,
            backends={"detector": self._detector.backend, "encoder": self._encoder.backend},
            outputs=self._outputs.reports(),
        )


def _put(put: Callable[[_Output], None], item: _Output) -> None:
    try:
        put(item)
    except Closed:
        log.debug("the results are no longer read")
