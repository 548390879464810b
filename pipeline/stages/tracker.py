"""The tracks of one source: born, followed, looked at, ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..gallery.decision import Matches
from ..types import Faces, Floats, Frame, Identity, Image, Track
from .association import associate
from .template import Template

# A cut: the subsampled picture differs from the one before by more than this (mean absolute
# difference, 0..255), and by several times what it lately did. Measured on the test clips: cuts
# 28 to 30, a walking crowd up to 13, shaking close-ups up to 14, each against a recent mean of
# up to 10.
CUT_DIFFERENCE = 20.0
CUT_RATIO = 2.0


@dataclass(slots=True, eq=False)
class Best:
    """The best look at a track so far."""

    quality: float
    box: Floats
    score: float
    pts: float
    picture: Image


@dataclass(slots=True, eq=False)
class LiveTrack:
    """A face being followed. Owned by one thread."""

    track_id: int
    box: Floats
    landmarks: Floats
    score: float
    start_pts: float
    start_utc: float
    end_pts: float
    end_utc: float
    faces: int = 1
    sighting: str = field(default_factory=lambda: uuid.uuid4().hex)
    velocity: Floats = field(default_factory=lambda: np.zeros(4, np.float32))
    template: Template = field(default_factory=Template)
    identity: Identity = field(default_factory=lambda: Identity.unknown("pending"))
    sigma: float = float("nan")
    # Of the surest look. Looks that say nothing do not say more together: their errors are alike,
    # and only the formula makes the fused sigma small.
    clearest: float = float("inf")
    largest: float = 0.0
    planned: int = 0
    looked_at: float = -np.inf
    looked_quality: float = 0.0
    matches: Matches | None = None
    best: Best | None = None

    def predicted(self, pts: float) -> Floats:
        """The box (4) expected at ``pts``, moving on as it last moved; its size stays."""
        shift = np.tile((self.velocity[:2] + self.velocity[2:]) / 2, 2)
        moved = self.box + shift * max(0.0, pts - self.end_pts)
        return moved.astype(np.float32)

    def follow(self, faces: Faces, row: int, frame: Frame) -> None:
        """Continue with this detection."""
        box = faces.boxes[row]
        elapsed = frame.pts - self.end_pts
        if elapsed > 0:
            # Half of the old motion is kept: a detector's boxes tremble by a pixel or two.
            self.velocity = 0.5 * self.velocity + 0.5 * (box - self.box) / np.float32(elapsed)
        self.box = box
        self.landmarks = faces.landmarks[row]
        self.score = float(faces.scores[row])
        self.end_pts, self.end_utc = frame.pts, frame.utc
        self.faces += 1

    def plan_look(self, quality: float, *, pts: float) -> None:
        """Note that this face will be embedded."""
        self.planned += 1
        self.looked_at = pts
        self.looked_quality = max(self.looked_quality, quality)

    def snapshot(self, faces: Faces, row: int, *, length: int) -> Track:
        """The track as the world sees it in a frame where it is this detection."""
        return Track(
            track_id=self.track_id,
            box=faces.boxes[row],
            landmarks=faces.landmarks[row],
            score=float(faces.scores[row]),
            identity=self.identity,
            sigma=self.sigma,
            faces=length,
        )

    def expected(self, frame: Frame) -> Track:
        """The track in a frame that was not searched for faces."""
        height, width = frame.image.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        box = np.clip(self.predicted(frame.pts), 0, limit)
        moved = self.landmarks + (box - self.box)[:2]
        return Track(
            track_id=self.track_id,
            box=box,
            landmarks=moved,
            score=self.score,
            identity=self.identity,
            sigma=self.sigma,
            faces=self.faces,
        )


class SourceTracker:
    """Follows the faces of one source by overlap. Not thread-safe: one worker owns it."""

    def __init__(self, ids: Iterator[int], *, min_iou: float, absence_seconds: float) -> None:
        self._ids = ids
        self._min_iou = min_iou
        self._absence = absence_seconds
        self._thumbnail: Image | None = None
        self._unrest = 0.0
        self.tracks: list[LiveTrack] = []

    def update(self, frame: Frame, faces: Faces) -> tuple[list[LiveTrack], list[LiveTrack]]:
        """Take in the detections of a frame.

        Returns:
            The track of each face, in the faces' order, and the tracks that ended before it.
        """
        ended = self._expire(frame)
        predicted = np.array([t.predicted(frame.pts) for t in self.tracks], np.float32)
        pairs = associate(predicted.reshape(-1, 4), faces.boxes, min_iou=self._min_iou)
        of_face = {face: self.tracks[track] for track, face in pairs}
        current: list[LiveTrack] = []
        for row in range(len(faces)):
            track = of_face.get(row)
            if track is None:
                track = self.start(frame, faces, row)
            else:
                track.follow(faces, row, frame)
            current.append(track)
        return current, ended

    def predict(self, frame: Frame) -> tuple[list[Track], list[LiveTrack]]:
        """The tracks in a frame that was not searched for faces, and those that ended."""
        ended = self._expire(frame)
        return [t.expected(frame) for t in self.tracks], ended

    def start(self, frame: Frame, faces: Faces, row: int) -> LiveTrack:
        """Begin a track with this detection."""
        track = LiveTrack(
            track_id=next(self._ids),
            box=faces.boxes[row],
            landmarks=faces.landmarks[row],
            score=float(faces.scores[row]),
            start_pts=frame.pts,
            start_utc=frame.utc,
            end_pts=frame.pts,
            end_utc=frame.utc,
        )
        self.tracks.append(track)
        return track

    def drop(self, track: LiveTrack) -> None:
        """Stop following this track."""
        self.tracks.remove(track)

    def finish(self) -> list[LiveTrack]:
        """End all tracks."""
        ended, self.tracks = self.tracks, []
        return ended

    def _expire(self, frame: Frame) -> list[LiveTrack]:
        """End the tracks that are gone: all at a cut, a still, or a jump back in time."""
        if self._cut(frame) or frame.still:
            return self.finish()
        ended = [t for t in self.tracks if not 0 <= frame.pts - t.end_pts <= self._absence]
        self.tracks = [t for t in self.tracks if t not in ended]
        return ended

    def _cut(self, frame: Frame) -> bool:
        """True when the picture has little in common with the one before."""
        height, width = frame.image.shape[:2]
        thumbnail = frame.image[:: max(1, height // 36), :: max(1, width // 64)].copy()
        before, self._thumbnail = self._thumbnail, thumbnail
        if before is None:
            return False
        if before.shape != thumbnail.shape:
            return True
        difference = float(np.abs(before.astype(np.int16) - thumbnail.astype(np.int16)).mean())
        cut = difference > max(CUT_DIFFERENCE, CUT_RATIO * self._unrest)
        if not cut:
            self._unrest += 0.2 * (difference - self._unrest)
        return cut
