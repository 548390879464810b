"""What is kept of a sighting, and which sightings are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..core.types import Verdict
from ..storage.names import RESERVED

SightingState = Literal["open", "closed", "interrupted"]
"""``open``: the face is still there; ``interrupted``: its run died before the face left."""
MediaKind = Literal["face", "frame"]
"""``face``: the aligned face, 112×112; ``frame``: the cut of the frame around it, 320 px."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A face from when it appeared until it left.

    Attributes:
        id: the ``sighting`` of its events; unique among all runs.
        source: name of the camera or video.
        file: of a source of photos, the photo.
        start, end: UTC; None where the source does not say.
        start_pts, end_pts: seconds since the source's start.
        box: x1, y1, x2, y2 in pixels of the best picture's frame.
        best_pts, best_score: of the best picture; None while it is open.
        faces: detections; looks: those that were embedded.
        person_id, name: of the gallery; None and ``unknown`` without a name.
        similarity: to the best person, −1..1.
        probability: that the best person is right, 0..1.
        uncertainty: sigma of the fused embedding; clearest: of the surest one. None without.
        reason: why it has no name.
        flat: see ``SightingEvent.flat``.
        fixed: a human decided who it is.
        ignored: it resembles somebody who is to be ignored.
        candidates: person id to similarity, of those it may be.
        pictures: absolute path by kind.
    """

    id: str
    source: str
    file: str | None
    state: SightingState
    start: datetime | None
    end: datetime | None
    start_pts: float
    end_pts: float
    box: tuple[float, float, float, float]
    best_pts: float | None
    best_score: float | None
    faces: int
    looks: int
    person_id: int | None
    name: str
    verdict: Verdict
    similarity: float
    probability: float
    uncertainty: float | None
    clearest: float | None
    reason: str | None
    flat: bool | None
    model: str
    fixed: bool = False
    ignored: bool = False
    candidates: Mapping[int, float] = field(default_factory=dict)
    pictures: Mapping[MediaKind, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the field names of ``facestream who --json``."""
        return {
            "id": self.id,
            "source": self.source,
            "file": self.file,
            "state": self.state,
            "start": None if self.start is None else self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
            "start_pts": round(self.start_pts, 3),
            "end_pts": round(self.end_pts, 3),
            "name": self.name,
            "person_id": self.person_id,
            "verdict": self.verdict,
            "similarity": round(self.similarity, 4),
            "probability": round(self.probability, 4),
            "uncertainty": None if self.uncertainty is None else round(self.uncertainty, 4),
            "reason": self.reason,
            "faces": self.faces,
            "fixed": self.fixed,
            "ignored": self.ignored,
            "picture": self.pictures.get("frame") or self.pictures.get("face"),
        }


@dataclass(frozen=True, slots=True)
class SightingFilter:
    """Which sightings; a field that is None does not restrict.

    Attributes:
        sources: names of cameras or videos.
        since, until: a sighting counts that began in [since, until); for those of unknown time,
            when they were stored.
        names: of people, in any letter case; ``unknown`` for sightings without a name.
        verdicts: any of these.
        person_ids: of people, by their ids.
    """

    sources: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    names: tuple[str, ...] | None = None
    verdicts: tuple[Verdict, ...] | None = None
    person_ids: tuple[int, ...] | None = None

    @property
    def unnamed(self) -> bool:
        """True when sightings without a name are asked for."""
        return self.names is not None and RESERVED in (name.casefold() for name in self.names)


@dataclass(frozen=True, slots=True)
class Page:
    """Some sightings, newest first, and where the next page begins.

    Attributes:
        cursor: for `Sightings.page`; None when these are the last.
    """

    sightings: tuple[Sighting, ...]
    cursor: str | None
