"""The live tracks of one source, and the tracklets that carry them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..core.types import Floats, Frame, FrameResult, TrackSnapshot
from ..identity.hysteresis import HysteresisRules, name_at_end, update_identities
from ..identity.search import Matcher
from ..tracking.embedding_schedule import EmbeddingPlan
from ..tracking.interval import SearchInterval
from ..tracking.reidentification import Candidate, reassign
from ..tracking.track import Track
from ..tracking.tracker import Tracklet
from .track_events import TrackEventEmitter


class Observation(NamedTuple):
    """The encoder's output for a face (D each), and whether its tracklet is ambiguous."""

    mu: Floats
    logvar: Floats
    ambiguous: bool


class SourceTracks:
    """Begins, continues, names and ends the tracks of a source. Owned by one thread.

    Args:
        interval: between searched frames; where they are far apart, fewer confirm a name.

    Attributes:
        stale: the gallery changed; all tracks are searched again with the next frame.
        live: the tracks that have not ended, the oldest first.
    """

    def __init__(
        self,
        ids: Iterator[int],
        matcher: Matcher,
        rules: HysteresisRules,
        emitter: TrackEventEmitter,
        interval: SearchInterval,
    ) -> None:
        self._ids = ids
        self._matcher = matcher
        self._rules = rules
        self._emitter = emitter
        self._interval = interval
        self._changed = False
        self._followed: dict[int, Tracklet] = {}  # by the track id
        self.stale = False
        self.live: list[Track] = []

    def update(
        self,
        result: FrameResult,
        tracklets: Sequence[Tracklet],
        observations: Mapping[int, Observation],
        quality: Floats,
    ) -> list[TrackSnapshot]:
        """Update the tracks with a frame that was searched for faces.

        Args:
            result: the frame and its N faces.
            tracklets: N.
            observations: by row, of the embedded faces.
            quality: N.

        Returns:
            The track of each face.
        """
        frame, faces = result.frame, result.faces
        self._reassign(frame, tracklets, observations)
        current = []
        for row, tracklet in enumerate(tracklets):
            track = tracklet.track or self._begin(frame, tracklet, faces.boxes[row])
            flat = track.flat
            grew = track.add_detection(frame, faces, row, quality=float(quality[row]))
            self._changed |= grew and track.identity.reason == "too_small"
            self._changed |= self._rules.withhold_flat and flat != track.flat
            current.append(track)
        for row, seen in observations.items():
            current[row].add_embedding(seen.mu, seen.logvar, at=frame.pts)
        searched = self._search([current[row] for row in observations])
        if searched or self._changed:
            self._changed = False
            self._name(searched, frame.pts)
        self._emitter.emit(self.live, frame)
        return [
            _snapshot(s, box, points, float(score))
            for s, box, points, score in zip(
                current, faces.boxes, faces.landmarks, faces.scores, strict=True
            )
        ]

    def expected(
        self, frame: Frame, tracklets: Sequence[Tracklet], boxes: Floats
    ) -> list[TrackSnapshot]:
        """The snapshots in a frame that was not searched, at these boxes N×4."""
        height, width = frame.image.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        snapshots = []
        for tracklet, box in zip(tracklets, np.clip(boxes, 0, limit), strict=True):
            track = tracklet.track
            if track is not None:
                shift = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2
                moved = track.landmarks + shift
                snapshots.append(_snapshot(track, box, moved, track.score))
        return snapshots

    def end(self, tracklets: Sequence[Tracklet]) -> None:
        """End the tracks of tracklets that ended."""
        for tracklet in tracklets:
            if tracklet.track is not None:
                self._end(tracklet.track)

    def _reassign(
        self, frame: Frame, tracklets: Sequence[Tracklet], observations: Mapping[int, Observation]
    ) -> None:
        """Correct, by their embeddings, which track the faces belong to."""
        if not observations:
            return
        asked = [
            Candidate(seen.mu, tracklets[row].track, seen.ambiguous)
            for row, seen in observations.items()
        ]
        here = {id(tracklet.track) for tracklet in tracklets}
        lost = [s for s in self.live if id(s) not in here]
        given = reassign(asked, lost)
        moved = [
            (tracklets[row], before.own, after)
            for row, before, after in zip(observations, asked, given, strict=True)
            if after is not before.own
        ]
        for tracklet, _, _ in moved:
            tracklet.track = None
        for tracklet, own, after in moved:
            if after is None:
                tracklet.plan = EmbeddingPlan(count=1, at=frame.pts)
            else:
                self._hand_over(after, tracklet, instead=None if own in given else own)
        for _, own, after in moved:
            if own is not None and self._followed[own.track_id].track is not own:
                if after is not None and not own.emitted.appeared:
                    after.faces += own.faces  # it was the same face all along
                self._end(own)

    def _hand_over(self, track: Track, tracklet: Tracklet, *, instead: Track | None) -> None:
        """Give the track to this tracklet, and ``instead`` to its previous tracklet."""
        old = self._followed[track.track_id]
        if old.track is track:
            old.track, old.plan, old.released = None, EmbeddingPlan(), True
            if instead is not None and instead.template.count:
                self._follow(instead, old)
        self._follow(track, tracklet)

    def _follow(self, track: Track, tracklet: Tracklet) -> None:
        tracklet.track, tracklet.plan, tracklet.released = track, track.plan, False
        self._followed[track.track_id] = tracklet

    def _begin(self, frame: Frame, tracklet: Tracklet, box: Floats) -> Track:
        track = Track.begin(next(self._ids), frame, box, tracklet.plan)
        self._follow(track, tracklet)
        self.live.append(track)
        return track

    def _end(self, track: Track) -> None:
        tracklet = self._followed.pop(track.track_id)
        if tracklet.track is track:
            tracklet.track, tracklet.released = None, True
        self.live.remove(track)
        self._changed = True  # its name is free
        name_at_end(track, self.live, confirm=self._confirm)
        self._emitter.left(track)

    def _search(self, embedded: Sequence[Track]) -> list[Track]:
        """Search the tracks whose evidence changed, or all when the gallery did."""
        due = [s for s in embedded if s.needs_search(confirm=self._confirm)]
        if self.stale:
            self.stale = False
            due = [s for s in self.live if s.template.count]
        if due:
            times = [s.end_utc for s in due]
            found = self._matcher.search(np.stack([s.template.mu for s in due]), times)
            for track, matches in zip(due, found, strict=True):
                track.set_matches(matches)
        return due

    @property
    def _confirm(self) -> int:
        return self._interval.scaled(self._rules.confirm)

    def _name(self, searched: Sequence[Track], pts: float) -> None:
        rules = replace(self._rules, confirm=self._confirm)
        for track in update_identities(
            self.live, searched, matcher=self._matcher, rules=rules, pts=pts
        ):
            self._end(track)


def _snapshot(track: Track, box: Floats, landmarks: Floats, score: float) -> TrackSnapshot:
    return TrackSnapshot(
        track_id=track.track_id,
        box=box,
        landmarks=landmarks,
        score=score,
        identity=track.identity,
        sigma=track.sigma,
        faces=track.faces,
        flat=track.flat,
    )
