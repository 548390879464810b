"""Which faces are worth the encoder's time."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..core.types import Floats

Policy = Literal["every", "budget"]
# ``open``: more looks may change what is known; ``sure``: named, and clearly so.
Standing = Literal["open", "sure"]
# How a head is turned: to a side and up or down, in steps (see ``pose_of``).
Pose = tuple[int, int]

# Where the nose lies between the eyes (0 midway, ±0.5 at an eye), and how far below them (0 at
# their line, 1 at the mouth's).
_YAW_STEPS = (-0.25, -0.1, 0.1, 0.25)
_PITCH_STEPS = (0.4, 0.7)


@dataclass(slots=True, eq=False)
class LookPlan:
    """The looks at one face so far, planned or done.

    Attributes:
        count: how many.
        at: presentation time of the last one.
        quality: of the best one.
        poses: those that were looked at.
        idle: looks in a row that were due to age alone.
    """

    count: int = 0
    at: float = -np.inf
    quality: float = 0.0
    poses: set[Pose] = field(default_factory=set)
    idle: int = 0


@dataclass(frozen=True, slots=True)
class LookPolicy:
    """When a followed face is embedded again.

    Neighbouring frames say nearly the same about identity, so ``budget`` embeds a new face at
    once and once again soon, then when there is something new: a better picture, another pose, or
    time passed, with pauses that double while nothing else gives a reason. A face that is named
    and sure gets long pauses at once. ``every`` embeds all of them.

    Attributes:
        policy: ``every`` or ``budget``.
        max_looks: most looks at one face.
        first: looks that a new face gets soon.
        first_seconds: least time between any two looks.
        better: factor by which the quality must exceed the best one embedded so far.
        worth: least quality of another pose, as a part of the best one.
        doubt_seconds: least time between looks at faces that may have been exchanged.
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
    doubt_seconds: float = 0.3
    shortest: float = 0.4
    longest: float = 1.6
    longest_sure: float = 4.0

    def wants(
        self, plan: LookPlan, *, quality: float, pose: Pose, pts: float, standing: Standing
    ) -> bool:
        """True when this detection should be embedded."""
        if self.policy == "every" or plan.count == 0:
            return True
        if not self.may(plan, pts=pts):
            return False
        passed = pts - plan.at
        if plan.count < self.first and standing == "open":
            return True
        if self._news(plan, quality=quality, pose=pose, standing=standing):
            return True
        longest = self.longest if standing == "open" else self.longest_sure
        return passed >= min(self.shortest * 2.0**plan.idle, longest) - 1e-3

    def may(self, plan: LookPlan, *, pts: float) -> bool:
        """True when there is budget for a look now."""
        # Frames' times are rounded to milliseconds.
        return plan.count < self.max_looks and pts - plan.at >= self.first_seconds - 1e-3

    def settles(self, plan: LookPlan, *, pts: float) -> bool:
        """True when a face that may be another's now should be embedded for that."""
        return self.may(plan, pts=pts) and pts - plan.at >= self.doubt_seconds - 1e-3

    def plan(
        self, plan: LookPlan, *, quality: float, pose: Pose, pts: float, standing: Standing
    ) -> None:
        """Note that this detection will be embedded."""
        news = self._news(plan, quality=quality, pose=pose, standing=standing)
        young = plan.count < self.first and standing == "open"
        plan.idle = 0 if news or young else plan.idle + 1
        plan.count += 1
        plan.at = pts
        plan.quality = max(plan.quality, quality)
        plan.poses.add(pose)

    def _news(self, plan: LookPlan, *, quality: float, pose: Pose, standing: Standing) -> bool:
        if quality > self.better * plan.quality:
            return True
        return (
            standing == "open" and pose not in plan.poses and quality >= self.worth * plan.quality
        )


def pose_of(landmarks: Floats) -> Pose:
    """How a head is turned, by its landmarks 5×2.

    (0, 1) looks into the camera; the first number is negative to the left of the picture and
    positive to the right, the second 0 upwards and 2 downwards.
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
