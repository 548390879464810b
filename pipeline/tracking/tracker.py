"""The faces of one source, followed by where they are: begun, continued, lost.

This is the seam for a tracker: boxes and times go in, followers come out. Who a follower is (its
sighting) is settled later, by what its face looks like.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from ..core.types import Floats
from .association import associate
from .cuts import CutDetector
from .embedding_schedule import LookPlan
from .kalman import Motion
from .track import Sighting


@dataclass(slots=True, eq=False)
class Follower:
    """A place in the picture that moves with a face. Owned by one thread.

    Attributes:
        number: unique within its source.
        seen_at: presentation time of its last detection.
        faces: detections so far.
        doubtful: its last detection could as well have been another follower's.
        unsure: that changed since its face was looked at.
        plan: when its face is looked at.
        sighting: whose face it is; None until the first frame was named.
        released: its sighting went to another follower: it is let go unless it has a new one.
    """

    number: int
    seen_at: float
    faces: int = 1
    doubtful: bool = False
    unsure: bool = False
    plan: LookPlan = field(default_factory=LookPlan)
    sighting: Sighting | None = None
    released: bool = False


class SourceTracker:
    """Follows the faces of one source. Not thread-safe: one worker owns it.

    Attributes:
        searched_at: presentation time of the last frame that was searched for faces.
        followers: those not let go, a row of the motion each.
        cut: tells where the source cuts to another picture.
    """

    def __init__(self, *, min_iou: float, absence_seconds: float) -> None:
        self._numbers = itertools.count(1)
        self._min_iou = min_iou
        self._absence = absence_seconds
        self._motion = Motion()
        self.cut = CutDetector()
        self.searched_at = -np.inf
        self.followers: list[Follower] = []

    def associate(self, boxes: Floats, *, at: float) -> list[Follower]:
        """The follower of each detection N×4 (float32), in their order."""
        self.searched_at = at
        pairs, doubtful = associate(self._motion, boxes, at=at, min_iou=self._min_iou)
        found: list[Follower | None] = [None] * len(boxes)
        for row, face in pairs:
            follower = self.followers[row]
            follower.seen_at = at
            follower.faces += 1
            follower.unsure |= (row in doubtful) != follower.doubtful
            follower.doubtful = row in doubtful
            found[face] = follower
        if pairs:
            rows = np.array(pairs, np.intp)
            self._motion.update(rows[:, 0], boxes[rows[:, 1]], at)
        fresh = [face for face, follower in enumerate(found) if follower is None]
        if fresh:
            self._motion.add(boxes[fresh], at)
            begun = [Follower(next(self._numbers), at) for _ in fresh]
            self.followers += begun
            for face, follower in zip(fresh, begun, strict=True):
                found[face] = follower
        return [follower for follower in found if follower is not None]

    def expected(self, at: float) -> tuple[list[Follower], Floats]:
        """The followers found in the last searched frame, and their boxes N×4 at this time."""
        rows = [r for r, f in enumerate(self.followers) if f.seen_at == self.searched_at]
        if not rows:
            return [], np.zeros((0, 4), np.float32)
        return [self.followers[row] for row in rows], self._motion.expected(at)[rows]

    def expire(self, at: float) -> list[Follower]:
        """Let go of the followers not seen for the absence, or seen later than ``at``."""
        if not self.followers:
            return []
        passed = at - self._motion.at
        stay = (passed >= 0) & (passed <= self._absence)
        for row, follower in enumerate(self.followers):
            if follower.released and follower.sighting is None:
                stay[row] = False
        if stay.all():
            return []
        gone = [f for f, here in zip(self.followers, stay, strict=True) if not here]
        self._keep([row for row, here in enumerate(stay) if here])
        return gone

    def finish(self) -> list[Follower]:
        """Let go of all."""
        gone = self.followers
        self._keep([])
        return gone

    def _keep(self, rows: list[int]) -> None:
        self.followers = [self.followers[row] for row in rows]
        self._motion.keep(np.array(rows, np.intp))
