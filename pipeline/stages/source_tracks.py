"""The live sightings of one source: who its followers follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..core.types import (
    Floats,
    Frame,
    FrameResult,
    Track,
)
from ..identity.hysteresis import NamingRules, name
from ..identity.search import Matcher
from ..tracking.embedding_schedule import LookPlan
from ..tracking.reidentification import Candidate, settle
from ..tracking.track import Sighting
from ..tracking.tracker import Follower
from .track_events import Teller


class Look(NamedTuple):
    """What the encoder says of a face (mu and logvar, D each), and whether it may be another's."""

    mu: Floats
    logvar: Floats
    doubtful: bool


class SourceSightings:
    """Begins, continues, names and ends the sightings of a source. Owned by one thread.

    Attributes:
        stale: the gallery changed; all are searched again with the next frame.
        live: those not ended, the oldest first.
    """

    def __init__(
        self, ids: Iterator[int], matcher: Matcher, rules: NamingRules, teller: Teller
    ) -> None:
        self._ids = ids
        self._matcher = matcher
        self._rules = rules
        self._teller = teller
        self._changed = False
        self._followed: dict[int, Follower] = {}  # by the sighting's track id
        self.stale = False
        self.live: list[Sighting] = []

    def update(
        self,
        result: FrameResult,
        followers: Sequence[Follower],
        looks: Mapping[int, Look],
        quality: Floats,
    ) -> list[Track]:
        """Take in a frame that was searched for faces.

        Args:
            result: the frame and its N faces.
            followers: of the faces.
            looks: row to look, of the faces that were embedded.
            quality: N.

        Returns:
            The track of each face.
        """
        frame, faces = result.frame, result.faces
        self._settle(frame, followers, looks)
        current = []
        for row, follower in enumerate(followers):
            sighting = follower.sighting or self._begin(frame, follower, faces.boxes[row])
            grew = sighting.see(frame, faces, row, quality=float(quality[row]))
            self._changed |= grew and sighting.identity.reason == "too_small"
            current.append(sighting)
        for row, look in looks.items():
            current[row].look(look.mu, look.logvar, at=frame.pts)
        searched = self._search([current[row] for row in looks])
        if searched or self._changed:
            self._changed = False
            self._name(searched, frame.pts)
        self._teller.tell(self.live, frame)
        return [
            _track(s, box, points, float(score))
            for s, box, points, score in zip(
                current, faces.boxes, faces.landmarks, faces.scores, strict=True
            )
        ]

    def expected(self, frame: Frame, followers: Sequence[Follower], boxes: Floats) -> list[Track]:
        """The tracks in a frame that was not searched, at these boxes N×4."""
        height, width = frame.image.shape[:2]
        limit = np.array([width, height, width, height], np.float32)
        tracks = []
        for follower, box in zip(followers, np.clip(boxes, 0, limit), strict=True):
            sighting = follower.sighting
            if sighting is not None:
                shift = (box[:2] + box[2:] - sighting.box[:2] - sighting.box[2:]) / 2
                moved = sighting.landmarks + shift
                tracks.append(_track(sighting, box, moved, sighting.score))
        return tracks

    def end(self, followers: Sequence[Follower]) -> None:
        """End the sightings of followers that were let go."""
        for follower in followers:
            if follower.sighting is not None:
                self._end(follower.sighting)

    def _settle(
        self, frame: Frame, followers: Sequence[Follower], looks: Mapping[int, Look]
    ) -> None:
        """Put right, by what the faces look like, whose they are."""
        if not looks:
            return
        asked = [
            Candidate(look.mu, followers[row].sighting, look.doubtful)
            for row, look in looks.items()
        ]
        here = {id(follower.sighting) for follower in followers}
        lost = [s for s in self.live if id(s) not in here]
        given = settle(asked, lost)
        moved = [
            (followers[row], before.own, after)
            for row, before, after in zip(looks, asked, given, strict=True)
            if after is not before.own
        ]
        for follower, _, _ in moved:
            follower.sighting = None
        for follower, own, after in moved:
            if after is None:
                follower.plan = LookPlan(count=1, at=frame.pts)
            else:
                self._hand_over(after, follower, instead=None if own in given else own)
        for _, own, after in moved:
            if own is not None and self._followed[own.track_id].sighting is not own:
                if after is not None and not own.told.appeared:
                    after.faces += own.faces  # it was the same face all along
                self._end(own)

    def _hand_over(
        self, sighting: Sighting, follower: Follower, *, instead: Sighting | None
    ) -> None:
        """This follower's face is the sighting's; the one whose it was goes to the old place."""
        old = self._followed[sighting.track_id]
        if old.sighting is sighting:
            # A lost one. Should its follower find a face again, it is the other's or a new one.
            old.sighting, old.plan, old.released = None, LookPlan(), True
            if instead is not None and instead.template.looks:
                self._follow(instead, old)
        self._follow(sighting, follower)

    def _follow(self, sighting: Sighting, follower: Follower) -> None:
        follower.sighting, follower.plan, follower.released = sighting, sighting.plan, False
        self._followed[sighting.track_id] = follower

    def _begin(self, frame: Frame, follower: Follower, box: Floats) -> Sighting:
        sighting = Sighting.begin(next(self._ids), frame, box, follower.plan)
        self._follow(sighting, follower)
        self.live.append(sighting)
        return sighting

    def _end(self, sighting: Sighting) -> None:
        follower = self._followed.pop(sighting.track_id)
        if follower.sighting is sighting:
            follower.sighting, follower.released = None, True
        self.live.remove(sighting)
        self._changed = True  # its name is free
        self._teller.left(sighting)

    def _search(self, looked: Sequence[Sighting]) -> list[Sighting]:
        """Look up those whose evidence changed, or all when the gallery did."""
        due = [s for s in looked if s.due(confirm=self._rules.confirm)]
        if self.stale:
            self.stale = False
            due = [s for s in self.live if s.template.looks]
        if due:
            found = self._matcher.search(np.stack([s.template.mu for s in due]))
            for sighting, matches in zip(due, found, strict=True):
                sighting.found(matches)
        return due

    def _name(self, searched: Sequence[Sighting], pts: float) -> None:
        for sighting in name(
            self.live, searched, matcher=self._matcher, rules=self._rules, pts=pts
        ):
            self._end(sighting)


def _track(sighting: Sighting, box: Floats, landmarks: Floats, score: float) -> Track:
    return Track(
        track_id=sighting.track_id,
        box=box,
        landmarks=landmarks,
        score=score,
        identity=sighting.identity,
        sigma=sighting.sigma,
        faces=sighting.faces,
    )
