"""Which faces are worth the encoder's time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..core.types import Floats

Policy = Literal["every", "budget"]
# ``open``: more embeddings may change what is known; ``sure``: named, and clearly so.
Certainty = Literal["open", "sure"]
# How a head is turned: to a side and up or down, in steps (see ``pose_of``).
Pose = tuple[int, int]

# Where the nose lies between the eyes (0 midway, ±0.5 at an eye), and how far below them (0 at
# their line, 1 at the mouth's).
_YAW_STEPS = (-0.25, -0.1, 0.1, 0.25)
_PITCH_STEPS = (0.4, 0.7)


@dataclass(slots=True, eq=False)
class EmbeddingPlan:
    """The embeddings at one face so far, planned or done.

    Attributes:
        count: how many.
        at: presentation time of the last one.
        quality: of the best one.
        poses: those embedded.
        idle: embeddings in a row that were due to time alone.
    """

    count: int = 0
    at: float = -np.inf
    quality: float = 0.0
    poses: set[Pose] = field(default_factory=set)
    idle: int = 0


@dataclass(frozen=True, slots=True)
class EmbeddingPolicy:
    """When a tracked face is embedded again.

    Neighbouring frames carry nearly the same evidence, so ``budget`` embeds a new face at once and
    once again soon, then for a better picture, another pose, or time passed, with pauses that
    double while time is the only reason. A face that is named and sure gets long pauses at once.
    ``every`` embeds every detection.

    Attributes:
        policy: ``every`` or ``budget``.
        max_looks: most embeddings at one face.
        first: embeddings that a new face gets soon.
        first_seconds: least time between any two embeddings.
        better: factor by which the quality must exceed the best one embedded so far.
        worth: least quality of another pose, as a part of the best one.
        verify_seconds: least time between embeddings at faces that may have been exchanged.
        shortest: the first pause in seconds.
        longest: the longest pause of an open face.
        longest_sure: the longest pause of a sure one.
    """

    policy: Policy = "budget"
    max_looks: int = 40
    first: int = 2
    first_seconds: float = 0.1
    better: float = 1.25
    worth: float = 0.7
    verify_seconds: float = 0.3
    shortest: float = 0.4
    longest: float = 1.6
    longest_sure: float = 4.0

    def should_embed(
        self, plan: EmbeddingPlan, *, quality: float, pose: Pose, pts: float, certainty: Certainty
    ) -> bool:
        """True when this detection should be embedded."""
        if self.policy == "every" or plan.count == 0:
            return True
        if not self.allowed(plan, pts=pts):
            return False
        passed = pts - plan.at
        if plan.count < self.first and certainty == "open":
            return True
        if self._news(plan, quality=quality, pose=pose, certainty=certainty):
            return True
        longest = self.longest if certainty == "open" else self.longest_sure
        return passed >= min(self.shortest * 2.0**plan.idle, longest) - 1e-3

    def allowed(self, plan: EmbeddingPlan, *, pts: float) -> bool:
        """True when there is budget for an embedding now."""
        # Frames' times are rounded to milliseconds.
        return plan.count < self.max_looks and pts - plan.at >= self.first_seconds - 1e-3

    def may_verify(self, plan: EmbeddingPlan, *, pts: float) -> bool:
        """True when a face that may be another's now should be embedded for that."""
        return self.allowed(plan, pts=pts) and pts - plan.at >= self.verify_seconds - 1e-3

    def record(
        self, plan: EmbeddingPlan, *, quality: float, pose: Pose, pts: float, certainty: Certainty
    ) -> None:
        """Note that this detection will be embedded."""
        news = self._news(plan, quality=quality, pose=pose, certainty=certainty)
        young = plan.count < self.first and certainty == "open"
        plan.idle = 0 if news or young else plan.idle + 1
        plan.count, plan.at = plan.count + 1, pts
        plan.quality = max(plan.quality, quality)
        plan.poses.add(pose)

    def _news(
        self, plan: EmbeddingPlan, *, quality: float, pose: Pose, certainty: Certainty
    ) -> bool:
        if quality > self.better * plan.quality:
            return True
        return (
            certainty == "open" and pose not in plan.poses and quality >= self.worth * plan.quality
        )


def pose_of(landmarks: Floats) -> Pose:
    """How a head is turned, by its landmarks 5×2.

    (0, 1) faces the camera; the first number is negative to the left of the picture and positive to
    the right, the second 0 upwards and 2 downwards.
    """
    # Plain numbers: for a handful of faces that is faster than arrays.
    (lx, ly), (rx, ry), (nx, ny), (ax, ay), (bx, by) = landmarks.tolist()
    dx, dy = rx - lx, ry - ly
    length = max(dx * dx + dy * dy, 1e-12)
    along = ((nx - lx) * dx + (ny - ly) * dy) / length - 0.5
    # Both below the line of the eyes; their common factor cancels out.
    nose = (ny - ly) * dx - (nx - lx) * dy
    mouth = ((ay + by) / 2 - ly) * dx - ((ax + bx) / 2 - lx) * dy
    below = nose / max(mouth, 1e-6)
    return bisect_left(_YAW_STEPS, along) - 2, bisect_left(_PITCH_STEPS, below)
