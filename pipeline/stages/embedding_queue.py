"""The frames whose faces wait for the encoder; each source gets its share of the encoder's time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ..core.types import Floats, FrameResult
from ..metrics.families import FACES_LEFT_OUT
from ..metrics.store import Metrics
from ..runtime.fair_share import Share, next_of
from ..tracking.tracker import Tracklet

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.05
"""The encoder is busy this long at most before another source's faces get their turn."""
MOST_HELD = 8
"""Of more frames of a file that wait, all faces are embedded at once. (Cameras are bounded before:
`IN_FLIGHT` in ``runtime.source_queue``.)"""

_FIRST_SLICE = 4  # faces, before any was measured
_LATEST = 0.2  # weight of the newest time of a face in the average

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class Pending(Generic[S]):
    """A frame between tracking and identification.

    Attributes:
        rows: the faces to embed.
        ambiguous: by row: its tracklet is ambiguous.
        patient: it waits until all of them are embedded (a file's).
        failed: they cannot be embedded.
    """

    result: FrameResult
    source: S
    ended: list[Tracklet]
    tracklets: list[Tracklet]
    boxes: Floats
    rows: list[int] = field(default_factory=list)
    ambiguous: dict[int, bool] = field(default_factory=dict)
    quality: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    patient: bool = True
    failed: bool = False
    done: int = 0
    _found: list[tuple[Floats, Floats]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of its source."""
        return self.result.frame.source

    @property
    def left(self) -> int:
        """Faces that are not embedded yet."""
        return 0 if self.failed else len(self.rows) - self.done

    def add(self, found: tuple[Floats, Floats] | None) -> None:
        """mu and logvar of its next rows."""
        if found is None:
            self.failed = True
        else:
            self.done += len(found[0])
            self._found.append(found)

    def embeddings(self) -> tuple[Floats, Floats]:
        """mu and logvar of ``rows``."""
        if not self._found:
            return np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)
        mu, logvar = zip(*self._found, strict=True)
        return np.concatenate(mu), np.concatenate(logvar)


class Part(NamedTuple, Generic[S]):
    """Some faces of a frame."""

    item: Pending[S]
    rows: list[int]

    @property
    def name(self) -> str:
        """Of its source."""
        return self.item.name


class EmbeddingQueue(Generic[S]):
    """Divides the encoder's time among the sources. Owned by one thread.

    The faces of a source that had the least time are next, in pieces of about `SLICE_SECONDS`. A
    crowd then delays others by one piece, and has all the time that they leave.

    Args:
        metrics: counts the faces that are left out.

    Attributes:
        items: the frames that wait, in the order of their arrival.
        embedded: faces so far.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.items: list[Pending[S]] = []
        self.embedded = 0
        self._metrics = metrics
        self._shares: dict[str, Share] = {}
        self._logged: set[tuple[str, str]] = set()
        self._clock = 0.0
        self._face_seconds: float | None = None

    def __bool__(self) -> bool:
        return bool(self.items)

    def left_out(self, source: str, faces: int, cause: str) -> None:
        """Count faces that a limit leaves out; the first of a cause is logged."""
        if (source, cause) not in self._logged:
            self._logged.add((source, cause))
            log.warning("%s: faces are left out (%s); see the settings of [limits]", source, cause)
        self._metrics.add(FACES_LEFT_OUT, faces, source=source, cause=cause)

    def add(self, item: Pending[S]) -> None:
        """A frame, behind the others of its source."""
        same = [other for other in self.items if other.name == item.name]
        if not any(other.left for other in same):
            self._shares.setdefault(item.name, Share()).returns(self._clock)
        self.items.append(item)

    def let_go(self) -> None:
        """Leave the faces out that live frames still wait for."""
        for item in self.items:
            if item.left and not item.patient:
                # Not logged: the run ends, and no setting helps.
                self._metrics.add(FACES_LEFT_OUT, item.left, source=item.name, cause="busy")
                del item.rows[item.done :]

    def forget(self, source: str) -> None:
        """The source has ended; frames of it that are held need no more embeddings."""
        held = [item for item in self.items if item.name == source]
        for item in held:
            item.failed = True
        if not held:
            self._shares.pop(source, None)

    def next(self, *, alone: bool) -> list[Part[S]]:
        """The faces to embed in one call; all when ``alone``."""
        waiting = [item for item in self.items if item.left]
        if alone or self._overdue(waiting):
            return [Part(item, item.rows[item.done :]) for item in waiting]
        room, parts = self._slice(), []
        while waiting and room > 0:
            shares = [self._shares[item.name] for item in waiting]
            item = waiting.pop(next_of(shares))
            share = self._shares[item.name]
            self._clock = max(self._clock, share.had)
            rows = item.rows[item.done : item.done + room]
            room -= len(rows)
            parts.append(Part(item, rows))
        return parts

    def add_embeddings(
        self,
        parts: Sequence[Part[S]],
        embedded: Sequence[tuple[Floats, Floats] | None],
        *,
        seconds: float,
    ) -> None:
        """The result of a call; None where it failed."""
        faces = sum(len(part.rows) for part in parts)
        for part, found in zip(parts, embedded, strict=True):
            self._shares[part.name].had += seconds * len(part.rows) / faces
            part.item.add(found)
            self.embedded += 0 if found is None else len(found[0])
        if faces:
            each, before = seconds / faces, self._face_seconds
            self._face_seconds = each if before is None else before + _LATEST * (each - before)

    def complete(self) -> Iterator[Pending[S]]:
        """Take the frames that are done, unless another of their source is before them."""
        held: set[str] = set()
        items, self.items = self.items, []
        for item in items:
            if item.left or item.name in held:
                held.add(item.name)
                self.items.append(item)
        kept = set(map(id, self.items))
        yield from [item for item in items if id(item) not in kept]

    def _slice(self) -> int:
        if self._face_seconds is None:
            return _FIRST_SLICE
        return max(1, int(SLICE_SECONDS / max(self._face_seconds, 1e-6)))

    def _overdue(self, waiting: Sequence[Pending[S]]) -> bool:
        """A file has too many frames here: nothing of it may be left out."""
        patient = [item.name for item in self.items if item.patient]
        return any(patient.count(item.name) > MOST_HELD for item in waiting if item.patient)
