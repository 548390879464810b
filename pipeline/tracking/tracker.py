"""The faces of one source, followed by where they are: begun, continued, lost.

Boxes and times go in, tracklets come out. Who a tracklet is (its track) is decided later, from its
embeddings.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..core.types import Floats, Image
from .association import associate
from .cuts import CutDetector
from .embedding_schedule import EmbeddingPlan
from .interval import SearchInterval
from .kalman import Motion
from .track import Track


@dataclass(slots=True, eq=False)
class Tracklet:
    """A place in the picture that moves with a face. Owned by one thread.

    Attributes:
        number: unique within its source.
        seen_at: presentation time of its last detection.
        faces: detections so far.
        ambiguous: its last detection could as well have been another tracklet's.
        unverified: that changed since its face was embedded.
        plan: when its face is embedded.
        track: whose face it is; None until the first frame was named.
        released: its track went to another tracklet: it ends unless it gets a new one.
    """

    number: int
    seen_at: float
    faces: int = 1
    ambiguous: bool = False
    unverified: bool = False
    plan: EmbeddingPlan = field(default_factory=EmbeddingPlan)
    track: Track | None = None
    released: bool = False


class Tracker(Protocol):
    """Follows the faces of one source. Not thread-safe: one worker owns it.

    Boxes are N×4 float32 in pixels, times are presentation times in seconds. A tracklet that was
    ``released`` and has no track ends with the next `expire`.

    Attributes:
        interval: between the searched frames.
    """

    interval: SearchInterval

    @property
    def searched_at(self) -> float:
        """Time of the last call of `associate`, −inf before the first."""
        ...

    def cut(self, image: Image) -> bool:
        """True when the picture (H×W×3 uint8) begins another scene; called with each frame."""
        ...

    def associate(self, boxes: Floats, *, at: float) -> list[Tracklet]:
        """The tracklet of each detection, in their order."""
        ...

    def forget_places(self) -> None:
        """No detection continues a tracklet of now: its track goes on by its embedding only."""
        ...

    def expected(self, at: float) -> tuple[list[Tracklet], Floats]:
        """The tracklets found in the last searched frame, and their boxes at this time."""
        ...

    def expire(self, at: float) -> list[Tracklet]:
        """End the tracklets that were not seen for too long, or were seen later than ``at``."""
        ...

    def finish(self) -> list[Tracklet]:
        """End all tracklets."""
        ...


class TrackerFactory(Protocol):
    """Makes the tracker of a source.

    ``min_iou`` is the overlap from which two boxes are the same face, ``absence_seconds`` the time
    after which a face that is not seen is lost, or more where searched frames are far apart.
    """

    def __call__(self, *, min_iou: float, absence_seconds: float) -> Tracker: ...


class SourceTracker:
    """A `Tracker` by a Kalman filter and one assignment per frame."""

    def __init__(self, *, min_iou: float, absence_seconds: float) -> None:
        self._numbers = itertools.count(1)
        self._min_iou = min_iou
        self._absence = absence_seconds
        self._motion = Motion()
        self.cut = CutDetector()
        self.interval = SearchInterval()
        self.searched_at = -np.inf
        self.tracklets: list[Tracklet] = []  # the live ones, a row of the motion each
        self._placeless: list[Tracklet] = []

    def associate(self, boxes: Floats, *, at: float) -> list[Tracklet]:
        self.searched_at = at
        self.interval.add(at)
        pairs, ambiguous = associate(self._motion, boxes, at=at, min_iou=self._min_iou)
        found: list[Tracklet | None] = [None] * len(boxes)
        for row, face in pairs:
            tracklet = self.tracklets[row]
            tracklet.seen_at = at
            tracklet.faces += 1
            tracklet.unverified |= (row in ambiguous) != tracklet.ambiguous
            tracklet.ambiguous = row in ambiguous
            found[face] = tracklet
        if pairs:
            rows = np.array(pairs, np.intp)
            self._motion.update(rows[:, 0], boxes[rows[:, 1]], at)
        fresh = [face for face, tracklet in enumerate(found) if tracklet is None]
        if fresh:
            self._motion.add(boxes[fresh], at)
            begun = [Tracklet(next(self._numbers), at) for _ in fresh]
            self.tracklets += begun
            for face, tracklet in zip(fresh, begun, strict=True):
                found[face] = tracklet
        return [tracklet for tracklet in found if tracklet is not None]

    def forget_places(self) -> None:
        self._placeless += self.tracklets
        self._keep([])

    def expected(self, at: float) -> tuple[list[Tracklet], Floats]:
        rows = [r for r, f in enumerate(self.tracklets) if f.seen_at == self.searched_at]
        if not rows:
            return [], np.zeros((0, 4), np.float32)
        return [self.tracklets[row] for row in rows], self._motion.expected(at)[rows]

    def expire(self, at: float) -> list[Tracklet]:
        absence = self.interval.absence(self._absence)

        def stays(tracklet: Tracklet) -> bool:
            bare = tracklet.released and tracklet.track is None
            return not bare and 0 <= at - tracklet.seen_at <= absence

        known = self.tracklets + self._placeless
        gone = [tracklet for tracklet in known if not stays(tracklet)]
        if gone:
            self._keep([row for row, one in enumerate(self.tracklets) if stays(one)])
            self._placeless = [one for one in self._placeless if stays(one)]
        return gone

    def finish(self) -> list[Tracklet]:
        self.forget_places()
        gone, self._placeless = self._placeless, []
        return gone

    def _keep(self, rows: list[int]) -> None:
        self.tracklets = [self.tracklets[row] for row in rows]
        self._motion.keep(np.array(rows, np.intp))
