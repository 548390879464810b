"""Track, embed, fuse, search and name: the stage that turns faces into identities."""

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
from ..identity.hysteresis import NamingRules
from ..identity.search import Matcher
from ..metrics import Metrics
from ..recognition.align import align_faces
from ..recognition.quality import quality
from ..tracking.embedding_schedule import LookPolicy, pose_of
from ..tracking.tracker import Follower, SourceTracker
from .source_tracks import Look, SourceSightings
from .track_events import Teller, TellingRules

# How often the gallery's file is asked whether another process changed it.
REFRESH_SECONDS = 2.0
# A source from which nothing came for so much longer than the absence is asleep: its sightings end.
SILENCE_SECONDS = 5.0


class Embedder(Protocol):
    """The encoder, as far as this stage is concerned."""

    def embed(self, crops: Image) -> tuple[Floats, Floats]: ...


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """How the faces of a source are followed, named and told of.

    Attributes:
        min_iou: overlap from which two boxes are the same face.
        absence_seconds: a sighting ends when its face was not seen for this long.
        looks: when a face is embedded again.
        naming: how names are given.
        telling: when something is told.
    """

    min_iou: float = 0.3
    absence_seconds: float = 1.0
    looks: LookPolicy = field(default_factory=LookPolicy)
    naming: NamingRules = field(default_factory=NamingRules)
    telling: TellingRules = field(default_factory=TellingRules)


@dataclass(slots=True, eq=False)
class _Source:
    """What the stage keeps of a source."""

    rules: TrackingRules
    tracker: SourceTracker
    sightings: SourceSightings
    heard: float = 0.0  # by the stage's clock


@dataclass(slots=True, eq=False)
class _Pending:
    """A frame between tracking and naming.

    Tracking runs ahead of naming by up to a batch, so what is true of this frame is kept here:
    the followers of its faces, the rows to embed and whether these are in doubt, and the followers
    that were let go before it.
    """

    result: FrameResult
    ended: list[Follower]
    followers: list[Follower]
    boxes: Floats
    rows: list[int] = field(default_factory=list)
    doubts: dict[int, bool] = field(default_factory=dict)
    quality: Floats = field(default_factory=lambda: np.zeros(0, np.float32))


class RecogniseStage:
    """Follows faces, embeds those worth it and names the sightings.

    One worker owns the stage; frames of a source must come in their order.

    Args:
        encoder: embeds aligned faces.
        matcher: searches and decides.
        rules: of a source, by its name; asked once for each.
        on_event: called in the worker's thread with each event, those of a source in their order.
        model: id of the encoder, for the events.
        metrics: counts the sightings; None for none.
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
        """End the sightings of sources that went silent; see the gallery's changes."""
        self._refresh()
        now = time.monotonic()
        for source in self._sources.values():
            if now - source.heard > source.rules.absence_seconds + SILENCE_SECONDS:
                source.sightings.end(source.tracker.finish())

    def end_source(self, source: str) -> None:
        """End the sightings of a source that has no more frames."""
        known = self._sources.pop(source, None)
        if known is not None:
            known.sightings.end(known.tracker.finish())

    def flush(self) -> None:
        """End all sightings."""
        for source in list(self._sources):
            self.end_source(source)

    def _refresh(self) -> None:
        """Take in changes of the gallery from time to time; all live sightings are searched."""
        now = time.monotonic()
        if now - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = now
        if self._matcher.refresh():
            for source in self._sources.values():
                source.sightings.stale = True

    def _source(self, frame: Frame) -> _Source:
        source = self._sources.get(frame.source)
        if source is None:
            rules = self._rules(frame.source)
            teller = Teller(
                frame.source,
                rules.telling,
                on_event=self._on_event,
                model=self._model,
                metrics=self._metrics,
            )
            source = self._sources[frame.source] = _Source(
                rules,
                SourceTracker(min_iou=rules.min_iou, absence_seconds=rules.absence_seconds),
                SourceSightings(self._ids, self._matcher, rules.naming, teller),
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
            followers, boxes = tracker.expected(frame.pts)
            return _Pending(result, ended, followers, boxes)
        rules = source.rules
        # Where the next detection comes soon, a new face waits for it: boxes that are found once
        # only are seldom faces.
        soon = frame.pts - tracker.searched_at < rules.looks.first_seconds
        patient = soon and rules.telling.min_faces > 1 and not frame.still
        followers = tracker.associate(faces.boxes, at=frame.pts)
        item = _Pending(result, ended, followers, faces.boxes, quality=quality(faces))
        item.rows = _looks(item, rules.looks, least=2 if patient else 1)
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
        """Fuse the new looks, search where that may help, decide, and tell."""
        result = item.result
        sightings = self._sources[result.frame.source].sightings
        sightings.end(item.ended)
        if not result.detected:
            tracks = sightings.expected(result.frame, item.followers, item.boxes)
            return replace(result, tracks=tuple(tracks))
        doubts = item.doubts
        looks = {r: Look(mu[n], logvar[n], doubts.get(r, False)) for n, r in enumerate(item.rows)}
        tracks = sightings.update(result, item.followers, looks, item.quality)
        if len(item.rows) == len(result.faces) and len(result.faces):
            result = replace(result, faces=result.faces.with_embeddings(mu, logvar))
        return replace(result, tracks=tuple(tracks))


def _looks(item: _Pending, policy: LookPolicy, *, least: int) -> list[int]:
    """The rows to embed, noted in the followers' plans; none found less than ``least`` times."""
    followers, pts = item.followers, item.result.frame.pts
    if policy.policy == "every":
        return list(range(len(followers)))
    rows = []
    for row, follower in enumerate(followers):
        plan = follower.plan
        if follower.faces < least or not policy.may(plan, pts=pts):
            continue
        standing = "open" if follower.sighting is None else follower.sighting.standing
        value, pose = float(item.quality[row]), pose_of(item.result.faces.landmarks[row])
        wanted = policy.wants(plan, quality=value, pose=pose, pts=pts, standing=standing)
        if wanted or (follower.unsure and policy.settles(plan, pts=pts)):
            item.doubts[row] = follower.unsure or follower.doubtful
            follower.unsure = False
            policy.plan(plan, quality=value, pose=pose, pts=pts, standing=standing)
            rows.append(row)
    return rows
