"""Track, embed, fuse, search and identify: the stage that turns faces into identities."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Protocol, TypedDict

import numpy as np

from ..core.events import TrackEvent
from ..core.types import Floats, Frame, FrameResult, Image
from ..identity.search import Matcher
from ..ingest.isolation import SourceIsolation
from ..metrics.store import Metrics
from ..recognition.align import align_faces
from ..recognition.quality import quality
from ..tracking.embedding_schedule import Certainty, EmbeddingPolicy, Pose, pose_of
from ..tracking.tracker import SourceTracker, Tracker, TrackerFactory
from .embedding_queue import EmbeddingQueue, Part, Pending
from .limits import Limiter
from .rules import TrackingRules
from .source_tracks import Observation, SourceTracks
from .track_events import TrackEventEmitter

REFRESH_SECONDS = 2.0  # between two checks of the gallery's file for changes by another process
# A source without frames for this much longer than the absence is silent: its tracks end.
SILENCE_SECONDS = 5.0
# Pictures this far apart differ in any scene, and a face in the same place may be another's.
SPARSE_SECONDS = 0.5


class Embedder(Protocol):
    def embed(self, crops: Image) -> tuple[Floats, Floats]: ...


@dataclass(slots=True, eq=False)
class _Source:
    rules: TrackingRules
    tracker: Tracker
    tracks: SourceTracks
    limiter: Limiter
    heard: float = 0.0  # by the stage's clock
    seen: float = -inf  # presentation time of the last frame

    @property
    def silent_after(self) -> float:
        """Seconds without a frame after which the tracks end."""
        absence = self.tracker.interval.absence(self.rules.absence_seconds)
        return (absence if absence < inf else self.rules.absence_seconds) + SILENCE_SECONDS

    def end(self) -> None:
        self.tracker.interval.end(least=self.rules.emission.min_faces)
        self.tracks.end(self.tracker.finish())


class RecogniseStage:
    """Tracks faces, embeds those worth it and identifies the tracks.

    One worker owns the stage; it gets the frames of a source in their order. A frame with an error
    is left out, and the source's tracks end. Where cameras share the encoder, the faces of a
    crowded frame are embedded piece by piece (`EmbeddingQueue`); the frame is held meanwhile.

    Args:
        rules: of a source, by its name; called once for each.
        on_event: called in the worker's thread with each event, those of a source in their order.
        model: id of the encoder, for the events.
        isolation: keeps an error with its source; without it every error ends the run.
        shared: several sources, cameras among them, share the encoder.
    """

    name = "recognise"

    def __init__(
        self,
        encoder: Embedder,
        matcher: Matcher,
        *,
        rules: Callable[[str], TrackingRules],
        on_event: Callable[[TrackEvent], None],
        model: str,
        metrics: Metrics | None = None,
        isolation: SourceIsolation | None = None,
        tracker: TrackerFactory = SourceTracker,
        shared: bool = False,
    ) -> None:
        self._shared = shared
        self._isolation = isolation or SourceIsolation()
        self._tracker = tracker
        self._encoder = encoder
        self._matcher = matcher
        self._rules = rules
        self._on_event = on_event
        self._model = model
        self._metrics = metrics or Metrics()
        self._ids = itertools.count(1)
        self._sources: dict[str, _Source] = {}
        self._refreshed = time.monotonic()
        self._queue: EmbeddingQueue[_Source] = EmbeddingQueue(self._metrics)

    @property
    def embedded(self) -> int:
        """Faces that were embedded so far."""
        return self._queue.embedded

    @property
    def busy(self) -> bool:
        """Frames are held whose faces are not all embedded."""
        return bool(self._queue)

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The frames that are done, each with its tracks; those of a source in their order."""
        self._refresh()
        for result in batch:
            name = result.frame.source
            item = self._isolation.call(name, "recognise", self._track, result)
            if item is None:
                self._lose(name)
            else:
                self._queue.add(item)
        return self._advance()

    def hurry(self) -> None:
        """Leave the faces out that live frames still wait for."""
        self._queue.let_go()

    def _advance(self) -> list[FrameResult]:
        """Embed all that waits, or a piece where cameras share the encoder; the finished frames."""
        isolation, began = self._isolation, time.perf_counter()
        parts = self._queue.next(alone=not self._shared)
        embedded = isolation.call_each("recognise", self._embed, parts, source=lambda p: p.name)
        self._queue.add_embeddings(parts, embedded, seconds=time.perf_counter() - began)
        done: list[FrameResult] = []
        for item in self._queue.complete():
            name, finished = item.name, None
            if self._sources.get(name) is not item.source:
                isolation.lost(name)  # its tracks ended with an error in another frame
                continue
            if not item.failed:
                finished = isolation.call(name, "recognise", self._identify, item)
            if finished is None:
                self._lose(name)
                continue
            if finished.detected:
                isolation.succeeded(name, "recognise")
            done.append(finished)
        now = time.monotonic()
        for source in {id(item.source): item.source for item in self._queue.items}.values():
            source.heard = now
        for result in done:
            known = self._sources.get(result.frame.source)
            if known is not None:
                known.heard = now  # the time of the batch is not silence of its sources
        return done

    def tick(self) -> None:
        """End the tracks of sources that went silent; pick up changes of the gallery."""
        self._refresh()
        now = time.monotonic()
        for name, source in self._sources.items():
            if now - source.heard > source.silent_after:
                self._isolation.clean_up(name, "recognise", source.end)

    def end_source(self, source: str) -> None:
        """End the tracks of a source that has no more frames."""
        known = self._sources.pop(source, None)
        self._queue.forget(source)
        if known is not None:
            self._isolation.clean_up(source, "recognise", known.end)

    def flush(self) -> None:
        for source in list(self._sources):
            self.end_source(source)

    def _lose(self, source: str) -> None:
        """Leave a frame out after an error: the source restarts without tracks."""
        self.end_source(source)
        self._isolation.lost(source)

    def _refresh(self) -> None:
        """Search all live tracks again after a change of the gallery."""
        now = time.monotonic()
        if now - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = now
        if self._matcher.refresh():
            for source in self._sources.values():
                source.tracks.stale = True

    def _source(self, frame: Frame) -> _Source:
        source = self._sources.get(frame.source)
        if source is None:
            rules = self._rules(frame.source)
            tracker = self._tracker(min_iou=rules.min_iou, absence_seconds=rules.absence_seconds)
            emitter = TrackEventEmitter(
                frame.source,
                rules.emission,
                on_event=self._on_event,
                model=self._model,
                metrics=self._metrics,
                interval=tracker.interval,
                photos=self._matcher.templates,
            )
            source = self._sources[frame.source] = _Source(
                rules,
                tracker,
                SourceTracks(self._ids, self._matcher, rules.hysteresis, emitter, tracker.interval),
                Limiter(rules.limits, partial(self._queue.left_out, frame.source)),
            )
        source.heard = time.monotonic()
        return source

    def _track(self, result: FrameResult) -> Pending[_Source]:
        """Associate the frame's faces and choose those to embed."""
        frame = result.frame
        source = self._source(frame)
        tracker = source.tracker
        cut = tracker.cut(frame.image)
        if cut and frame.pts - source.seen >= SPARSE_SECONDS:
            tracker.forget_places()
            cut = False
        source.seen = frame.pts
        ended = tracker.finish() if cut or frame.still else tracker.expire(frame.pts)
        if not result.detected:
            tracklets, boxes = tracker.expected(frame.pts)
            return Pending(result, source, ended, tracklets, boxes)
        rules, faces = source.rules, result.faces
        stay = source.limiter.faces_to_track(
            faces, tracker.expected(frame.pts)[1], live=len(source.tracks.live)
        )
        if len(stay) < len(faces):
            faces = faces.take(stay)
            result = replace(result, faces=faces)
        # A box that is found only once is rarely a face: if the next detection is soon, wait.
        passed = frame.pts - tracker.searched_at
        soon = passed < rules.embedding.first_seconds
        patient = soon and rules.emission.min_faces > 1 and not frame.still
        tracklets = tracker.associate(faces.boxes, at=frame.pts)
        item = Pending(result, source, ended, tracklets, faces.boxes, quality=quality(faces))
        sparse = passed >= SPARSE_SECONDS
        wanted = _wanted(item, rules.embedding, least=2 if patient else 1, every=sparse)
        item.patient = rules.limits is None
        item.rows = source.limiter.faces_to_embed(wanted, tracklets, item.quality)
        _record(item, rules.embedding)
        return item

    def _embed(self, parts: Sequence[Part[_Source]]) -> list[tuple[Floats, Floats]]:
        """mu and logvar of the rows of each part, all in one call of the encoder."""
        crops = [
            align_faces(part.item.result.frame.image, part.item.result.faces.landmarks[part.rows])
            for part in parts
        ]
        if not crops:
            return []
        mu, logvar = self._encoder.embed(np.concatenate(crops))
        stops = np.cumsum([len(part.rows) for part in parts]).tolist()
        return [
            (mu[stop - len(part.rows) : stop], logvar[stop - len(part.rows) : stop])
            for part, stop in zip(parts, stops, strict=True)
        ]

    def _identify(self, item: Pending[_Source]) -> FrameResult:
        """Fuse the new embeddings, search where that may help, decide, and emit events."""
        result, tracks = item.result, item.source.tracks
        tracks.end(item.ended)
        if not result.detected:
            snapshots = tracks.expected(result.frame, item.tracklets, item.boxes)
            return replace(result, tracks=tuple(snapshots))
        mu, logvar = item.embeddings()
        observations = {
            row: Observation(mu[n], logvar[n], item.ambiguous.get(row, False))
            for n, row in enumerate(item.rows)
        }
        snapshots = tracks.update(result, item.tracklets, observations, item.quality)
        if len(item.rows) == len(result.faces) and len(result.faces):
            result = replace(result, faces=result.faces.with_embeddings(mu, logvar))
        return replace(result, tracks=tuple(snapshots))


def _wanted(
    item: Pending[_Source], policy: EmbeddingPolicy, *, least: int, every: bool
) -> list[int]:
    """The rows that the policy embeds; none found less than ``least`` times.

    ``every``: all that the policy allows.
    """
    tracklets, pts = item.tracklets, item.result.frame.pts
    if policy.policy == "every":
        return list(range(len(tracklets)))
    rows = []
    for row, tracklet in enumerate(tracklets):
        plan = tracklet.plan
        if tracklet.faces < least or not policy.allowed(plan, pts=pts):
            continue
        wanted = policy.should_embed(plan, pts=pts, **_seen(item, row))
        if every or wanted or (tracklet.unverified and policy.may_verify(plan, pts=pts)):
            rows.append(row)
    return rows


def _record(item: Pending[_Source], policy: EmbeddingPolicy) -> None:
    """Note the rows that will be embedded in the tracklets' plans."""
    if policy.policy == "every":
        return
    for row in item.rows:
        tracklet = item.tracklets[row]
        item.ambiguous[row] = tracklet.unverified or tracklet.ambiguous
        tracklet.unverified = False
        policy.record(tracklet.plan, pts=item.result.frame.pts, **_seen(item, row))


class _Seen(TypedDict):
    quality: float
    pose: Pose
    certainty: Certainty


def _seen(item: Pending[_Source], row: int) -> _Seen:
    track = item.tracklets[row].track
    return {
        "quality": float(item.quality[row]),
        "pose": pose_of(item.result.faces.landmarks[row]),
        "certainty": "open" if track is None else track.certainty,
    }
