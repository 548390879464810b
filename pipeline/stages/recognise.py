"""Track, embed, fuse, search and name: the stage that turns faces into identities."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..events import face_picture
from ..types import Faces, Floats, Frame, FrameResult, Image, Track
from ..vision.align import align_faces
from ..vision.quality import quality
from ..vision.uncertainty import sigma
from .looks import LookPolicy
from .matching import Look, Matcher
from .tracker import Best, LiveTrack, SourceTracker

# A look that resembles its track less than this is another person in the same place (a cut, a
# crossing): same-person pairs of LFW lie above 0.2, neighbouring frames of one face above 0.6.
SPLIT_SIMILARITY = 0.1


class Embedder(Protocol):
    """The encoder, as far as this stage is concerned."""

    def embed(self, crops: Image) -> tuple[Floats, Floats]: ...


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """How faces are followed.

    Attributes:
        min_iou: overlap from which two boxes are the same face.
        absence_seconds: a track ends when its face was not seen for this long.
        looks: when a face is embedded again.
    """

    min_iou: float = 0.3
    absence_seconds: float = 1.0
    looks: LookPolicy = field(default_factory=LookPolicy)


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A track that is over, with the source it was in."""

    source: str
    track: LiveTrack
    still: bool


@dataclass(slots=True, eq=False)
class _Pending:
    """A frame between tracking and naming.

    Tracking runs ahead of naming by up to a batch, so what is true of this frame is kept here:
    its tracks, the length of each, the rows to embed and the tracks that ended before it.
    """

    result: FrameResult
    ended: list[LiveTrack]
    tracks: list[LiveTrack] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    quality: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    predicted: tuple[Track, ...] = ()


class RecogniseStage:
    """Follows faces, embeds those worth it and names the tracks.

    ``on_ended`` is called, in the worker's thread, with each track that is over.
    One worker owns the stage; frames of a source must come in their order.
    """

    name = "recognise"

    def __init__(
        self,
        encoder: Embedder,
        matcher: Matcher,
        *,
        rules: TrackingRules,
        on_ended: Callable[[Ended], None],
    ) -> None:
        self._encoder = encoder
        self._matcher = matcher
        self._rules = rules
        self._on_ended = on_ended
        self._ids = itertools.count(1)
        self._trackers: dict[str, SourceTracker] = {}
        self._stills: dict[str, bool] = {}
        self.embedded = 0

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with their tracks."""
        pending = [self._track(result) for result in batch]
        crops = [
            align_faces(p.result.frame.image, p.result.faces.landmarks[p.rows])
            for p in pending
            if p.rows
        ]
        if crops:
            mu, logvar = self._encoder.embed(np.concatenate(crops))
            self.embedded += len(mu)
        else:
            mu = logvar = np.zeros((0, 0), np.float32)
        done: list[FrameResult] = []
        split: dict[int, LiveTrack] = {}
        start = 0
        for item in pending:
            stop = start + len(item.rows)
            self._end(item.result.frame, item.ended)
            self._follow_splits(item, split)
            done.append(self._name(item, mu[start:stop], logvar[start:stop], split))
            start = stop
        return done

    def end_source(self, source: str) -> None:
        """End the tracks of a source that has no more frames."""
        tracker = self._trackers.pop(source, None)
        if tracker is not None:
            for track in tracker.finish():
                self._on_ended(Ended(source, track, self._stills[source]))

    def flush(self) -> None:
        """End all tracks."""
        for source in list(self._trackers):
            self.end_source(source)

    def _tracker(self, frame: Frame) -> SourceTracker:
        tracker = self._trackers.get(frame.source)
        if tracker is None:
            tracker = SourceTracker(
                self._ids,
                min_iou=self._rules.min_iou,
                absence_seconds=self._rules.absence_seconds,
            )
            self._trackers[frame.source] = tracker
        self._stills[frame.source] = frame.still
        return tracker

    def _track(self, result: FrameResult) -> _Pending:
        """Associate the frame's faces and choose those to embed."""
        frame, faces = result.frame, result.faces
        tracker = self._tracker(frame)
        if not result.detected:
            shown, ended = tracker.predict(frame)
            return _Pending(result, ended, predicted=tuple(shown))
        tracks, ended = tracker.update(frame, faces)
        item = _Pending(result, ended, tracks, [t.faces for t in tracks], quality=quality(faces))
        for row, track in enumerate(tracks):
            value = float(item.quality[row])
            if self._rules.looks.wants(track, quality=value, pts=frame.pts):
                item.rows.append(row)
                track.plan_look(value, pts=frame.pts)
        return item

    def _name(
        self, item: _Pending, mu: Floats, logvar: Floats, split: dict[int, LiveTrack]
    ) -> FrameResult:
        """Fuse the new looks, search those tracks again and decide the frame."""
        result, tracks = item.result, item.tracks
        if not result.detected:
            return replace(result, tracks=item.predicted)
        frame, faces = result.frame, result.faces
        for look, row in enumerate(item.rows):
            track = tracks[row]
            if track.template.looks and track.template.similarity(mu[look]) < SPLIT_SIMILARITY:
                split[track.track_id] = tracks[row] = self._split(item, row)
                item.lengths[row] = 1
            tracks[row].template.add(mu[look], logvar[look], at=frame.pts)
            tracks[row].clearest = min(
                tracks[row].clearest, float(sigma(logvar[look : look + 1])[0])
            )
        for row, track in enumerate(tracks):
            _remember_best(track, frame, faces, row, float(item.quality[row]))
        self._search([tracks[row] for row in item.rows])
        self._decide(tracks, faces)
        if len(item.rows) == len(faces) and len(faces):
            result = replace(result, faces=faces.with_embeddings(mu, logvar))
        shown = (t.snapshot(faces, row, length=item.lengths[row]) for row, t in enumerate(tracks))
        return replace(result, tracks=tuple(shown))

    def _search(self, tracks: Sequence[LiveTrack]) -> None:
        """Look these tracks up in the gallery by their fused embeddings."""
        if not tracks:
            return
        fused = np.stack([t.template.mu for t in tracks])
        spread = sigma(np.stack([t.template.logvar for t in tracks]))
        found = self._matcher.search(fused)
        for track, matches, value in zip(tracks, found, spread, strict=True):
            track.matches = matches
            track.sigma = float(value)

    def _decide(self, tracks: Sequence[LiveTrack], faces: Faces) -> None:
        """Name the tracks of one frame together, each person at most once."""
        looks, looked = [], []
        for track, box in zip(tracks, faces.boxes, strict=True):
            track.largest = max(track.largest, float(min(box[2] - box[0], box[3] - box[1])))
            if track.matches is not None:
                looks.append(Look(track.matches, track.clearest, track.largest))
                looked.append(track)
        for track, identity in zip(looked, self._matcher.decide(looks), strict=True):
            track.identity = identity

    def _split(self, item: _Pending, row: int) -> LiveTrack:
        """End a track whose face became somebody else's and begin one for the newcomer."""
        frame, track = item.result.frame, item.tracks[row]
        tracker = self._trackers[frame.source]
        if track in tracker.tracks:
            tracker.drop(track)
            self._end(frame, [track])
        fresh = tracker.start(frame, item.result.faces, row)
        fresh.plan_look(float(item.quality[row]), pts=frame.pts)
        return fresh

    def _follow_splits(self, item: _Pending, split: dict[int, LiveTrack]) -> None:
        """Hand the faces of tracks that were split earlier in this batch to the newcomers."""
        for row, track in enumerate(item.tracks):
            fresh = split.get(track.track_id)
            if fresh is not None:
                fresh.follow(item.result.faces, row, item.result.frame)
                item.tracks[row] = fresh
                item.lengths[row] = fresh.faces

    def _end(self, frame: Frame, tracks: Sequence[LiveTrack]) -> None:
        for track in tracks:
            self._on_ended(Ended(frame.source, track, frame.still))


def _remember_best(track: LiveTrack, frame: Frame, faces: Faces, row: int, value: float) -> None:
    """Keep the picture of this face if it is clearly better than the one kept so far."""
    if track.best is not None and value <= track.best.quality * 1.05:
        return
    box = faces.boxes[row]
    track.best = Best(
        quality=value,
        box=box,
        score=float(faces.scores[row]),
        pts=frame.pts,
        picture=face_picture(frame.image, box),
    )
