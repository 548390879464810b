"""What one live source may use: faces in a frame, live tracks, embeddings in a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.types import Faces, Floats
from ..tracking.tracker import Tracklet


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Of one source.

    Attributes:
        faces: most in a frame.
        tracks: most live ones.
        embeddings: most a second.
    """

    faces: int
    tracks: int
    embeddings: float


class Limiter:
    """Chooses which faces count where there are too many. Owned by one thread.

    Args:
        limits: None: there are none.
        left_out: gets how many faces are left out, and the cause: ``faces``, ``tracks`` (not
            tracked) or ``rate`` (not embedded).
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        limits: SourceLimits | None,
        left_out: Callable[[int, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._left_out = left_out
        self._clock = clock
        self._allowed = 0.0 if limits is None else max(1.0, limits.embeddings)
        self._at = clock()

    def faces_to_track(self, faces: Faces, expected: Floats, *, live: int) -> list[int]:
        """The rows to track: those where a track is expected (boxes M×4), then the largest.

        Args:
            live: tracks there are.
        """
        rows = list(range(len(faces)))
        limits = self._limits
        if limits is None or len(rows) + live <= min(limits.faces, limits.tracks):
            return rows
        known = _meeting(faces.boxes, expected)
        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1) * faces.scores
        rows.sort(key=lambda row: (not known[row], -sides[row]))
        stay = rows[: limits.faces]
        self._count(len(rows) - len(stay), "faces")
        room = max(0, limits.tracks - live)
        new = [row for row in stay if not known[row]]
        over = set(new[room:])
        self._count(len(over), "tracks")
        return sorted(row for row in stay if row not in over)

    def faces_to_embed(
        self, rows: list[int], tracklets: Sequence[Tracklet], quality: Floats
    ) -> list[int]:
        """Those of the rows that the rate allows: faces seen before, the least embedded first."""
        if self._limits is None or not rows:
            return rows
        now, most = self._clock(), max(1.0, self._limits.embeddings)
        self._allowed = min(most, self._allowed + (now - self._at) * self._limits.embeddings)
        self._at = now
        stay = rows
        if len(rows) > self._allowed:
            stay = sorted(
                rows,
                key=lambda row: (
                    tracklets[row].faces < 2,
                    tracklets[row].plan.count,
                    -quality[row],
                ),
            )
            stay = sorted(stay[: int(self._allowed)])
            self._count(len(rows) - len(stay), "rate")
        self._allowed -= len(stay)
        return stay

    def _count(self, faces: int, cause: str) -> None:
        if faces:
            self._left_out(faces, cause)


def _meeting(boxes: Floats, expected: Floats) -> list[bool]:
    """Which boxes N×4 have their centre in one of the expected ones M×4."""
    if not len(expected):
        return [False] * len(boxes)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T[..., None]
    left, top, right, bottom = expected.T
    met = np.any((left <= x) & (x <= right) & (top <= y) & (y <= bottom), axis=1)
    return [bool(one) for one in met]
