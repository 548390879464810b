"""Track, embed, fuse, search and identify: the stage that turns faces into identities."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..core.events import TrackEvent
from ..core.types import (
    Floats,
    Frame,
    FrameResult,
    Image,
)
from ..identity.search import Matcher
from ..metrics import Metrics
from ..recognition.align import align_faces
from ..recognition.quality import quality
from ..tracking.embedding_schedule import EmbeddingPolicy, pose_of
from ..tracking.tracker import SourceTracker, Tracklet
from .rules import TrackingRules
from .source_tracks import Observation, SourceTracks
from .track_events import TrackEventEmitter

# How often the gallery's file is asked whether another process changed it.
REFRESH_SECONDS = 2.0
# A source from which nothing came for so much longer than the absence is asleep: its tracks end.
SILENCE_SECONDS = 5.0


class Embedder(Protocol):
    """The encoder, as far as this stage is concerned."""

    def embed(self, crops: Image) -> tuple[Floats, Floats]: ...


@dataclass(slots=True, eq=False)
class _Source:
    """What the stage keeps of a source."""

    rules: TrackingRules
    tracker: SourceTracker
    tracks: SourceTracks
    heard: float = 0.0  # by the stage's clock


@dataclass(slots=True, eq=False)
class _Pending:
    """A frame between tracking and naming.

    Tracking runs ahead of naming by up to a batch, so what is true of this frame is kept here:
    the tracklets of its faces, the rows to embed and which are ambiguous, and the tracklets
    that were let go before it.
    """

    result: FrameResult
    ended: list[Tracklet]
    tracklets: list[Tracklet]
    boxes: Floats
    rows: list[int] = field(default_factory=list)
    ambiguous: dict[int, bool] = field(default_factory=dict)
    quality: Floats = field(default_factory=lambda: np.zeros(0, np.float32))


class RecogniseStage:
    """Follows faces, embeds those worth it and names the tracks.

    One worker owns the stage; frames of a source must come in their order.

    Args:
        encoder: embeds aligned faces.
        matcher: searches and decides.
        rules: of a source, by its name; asked once for each.
        on_event: called in the worker's thread with each event, those of a source in their order.
        model: id of the encoder, for the events.
        metrics: counts the tracks; None for none.
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
    ) -> None:
        self._encoder = encoder
        self._matcher = matcher
        self._rules = rules
        self._on_event = on_event
        self._model = model
        self._metrics = metrics
        self._ids = itertools.count(1)
        self._sources: dict[str, _Source] = {}
        self._refreshed = time.monotonic()
        self.embedded = 0

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with their tracks."""
        self._refresh()
        pending = [self._track(result) for result in batch]
        mu, logvar = self._embed(pending)
        done: list[FrameResult] = []
        start = 0
        for item in pending:
            stop = start + len(item.rows)
            done.append(self._name(item, mu[start:stop], logvar[start:stop]))
            start = stop
        return done

    def tick(self) -> None:
        """End the tracks of sources that went silent; see the gallery's changes."""
        self._refresh()
        now = time.monotonic()
        for source in self._sources.values():
            if now - source.heard > source.rules.absence_seconds + SILENCE_SECONDS:
                source.tracks.end(source.tracker.finish())

    def end_source(self, source: str) -> None:
        """End the tracks of a source that has no more frames."""
        known = self._sources.pop(source, None)
        if known is not None:
            known.tracks.end(known.tracker.finish())

    def flush(self) -> None:
        """End all tracks."""
        for source in list(self._sources):
            self.end_source(source)

    def _refresh(self) -> None:
        """Take in changes of the gallery from time to time; all live tracks are searched."""
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
            emitter = TrackEventEmitter(
                frame.source,
                rules.emission,
                on_event=self._on_event,
                model=self._model,
                metrics=self._metrics,
            )
            source = self._sources[frame.source] = _Source(
                rules,
                SourceTracker(min_iou=rules.min_iou, absence_seconds=rules.absence_seconds),
                SourceTracks(self._ids, self._matcher, rules.hysteresis, emitter),
            )
        source.heard = time.monotonic()
        return source

    def _track(self, result: FrameResult) -> _Pending:
        """Associate the frame's faces and choose those to embed."""
        frame, faces = result.frame, result.faces
        source = self._source(frame)
        tracker = source.tracker
        apart = tracker.cut(frame.image) or frame.still
        ended = tracker.finish() if apart else tracker.expire(frame.pts)
        if not result.detected:
            tracklets, boxes = tracker.expected(frame.pts)
            return _Pending(result, ended, tracklets, boxes)
        rules = source.rules
        # Where the next detection comes soon, a new face waits for it: boxes that are found once
        # only are seldom faces.
        soon = frame.pts - tracker.searched_at < rules.embedding.first_seconds
        patient = soon and rules.emission.min_faces > 1 and not frame.still
        tracklets = tracker.associate(faces.boxes, at=frame.pts)
        item = _Pending(result, ended, tracklets, faces.boxes, quality=quality(faces))
        item.rows = _rows_to_embed(item, rules.embedding, least=2 if patient else 1)
        return item

    def _embed(self, pending: Sequence[_Pending]) -> tuple[Floats, Floats]:
        crops = [
            align_faces(p.result.frame.image, p.result.faces.landmarks[p.rows])
            for p in pending
            if p.rows
        ]
        if not crops:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)
        mu, logvar = self._encoder.embed(np.concatenate(crops))
        self.embedded += len(mu)
        return mu, logvar

    def _name(self, item: _Pending, mu: Floats, logvar: Floats) -> FrameResult:
        """Fuse the new embeddings, search where that may help, decide, and emit events."""
        result = item.result
        tracks = self._sources[result.frame.source].tracks
        tracks.end(item.ended)
        if not result.detected:
            snapshots = tracks.expected(result.frame, item.tracklets, item.boxes)
            return replace(result, tracks=tuple(snapshots))
        ambiguous = item.ambiguous
        observations = {
            r: Observation(mu[n], logvar[n], ambiguous.get(r, False))
            for n, r in enumerate(item.rows)
        }
        snapshots = tracks.update(result, item.tracklets, observations, item.quality)
        if len(item.rows) == len(result.faces) and len(result.faces):
            result = replace(result, faces=result.faces.with_embeddings(mu, logvar))
        return replace(result, tracks=tuple(snapshots))


def _rows_to_embed(item: _Pending, policy: EmbeddingPolicy, *, least: int) -> list[int]:
    """The rows to embed, noted in the tracklets' plans; none found less than ``least`` times."""
    tracklets, pts = item.tracklets, item.result.frame.pts
    if policy.policy == "every":
        return list(range(len(tracklets)))
    rows = []
    for row, tracklet in enumerate(tracklets):
        plan = tracklet.plan
        if tracklet.faces < least or not policy.allowed(plan, pts=pts):
            continue
        certainty = "open" if tracklet.track is None else tracklet.track.certainty
        value, pose = float(item.quality[row]), pose_of(item.result.faces.landmarks[row])
        wanted = policy.should_embed(plan, quality=value, pose=pose, pts=pts, certainty=certainty)
        if wanted or (tracklet.unverified and policy.may_verify(plan, pts=pts)):
            item.ambiguous[row] = tracklet.unverified or tracklet.ambiguous
            tracklet.unverified = False
            policy.record(plan, quality=value, pose=pose, pts=pts, certainty=certainty)
            rows.append(row)
    return rows
