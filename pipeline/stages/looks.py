"""Which faces are worth the encoder's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .tracker import LiveTrack

Policy = Literal["every", "budget"]


@dataclass(frozen=True, slots=True)
class LookPolicy:
    """When a followed face is embedded again.

    Neighbouring frames say nearly the same about identity, so ``budget`` embeds a new track at
    once and twice more soon after, then a clearly better face, then one from time to time;
    ``every`` embeds all of them.

    Attributes:
        policy: ``every`` or ``budget``.
        first: looks a new track gets soon.
        first_seconds: time between those.
        better: factor by which the quality must exceed the best one embedded so far.
        refresh_seconds: time after which a track is embedded again all the same.
    """

    policy: Policy = "budget"
    first: int = 3
    first_seconds: float = 0.1
    better: float = 1.25
    refresh_seconds: float = 0.4

    def wants(self, track: LiveTrack, *, quality: float, pts: float) -> bool:
        """True when this detection of the track should be embedded."""
        if self.policy == "every" or quality > self.better * track.looked_quality:
            return True
        young = track.planned < self.first
        wait = self.first_seconds if young else self.refresh_seconds
        return pts - track.looked_at >= wait
