"""Events of sightings, as a run emits them."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from facestream.pipeline.core.events import Appeared, FusedTemplate, Left, Moment
from facestream.pipeline.core.types import Verdict

EPOCH = 1_750_000_000.0


def appeared(*, at: float = 0.0, uid: str | None = None, source: str = "door", **more: Any) -> Any:
    """A face that is there since ``at`` seconds."""
    moment = Moment.at(at, EPOCH + at)
    return Appeared(
        source=source,
        sighting=uid or uuid.uuid4().hex,
        track_id=1,
        model="m",
        start=moment,
        at=moment,
        box=(1, 2, 30, 40),
        **more,
    )


def left(
    event: Any = None,
    *,
    start: float = 0.0,
    seconds: float = 2.0,
    source: str = "door",
    verdict: Verdict = "unsure",
    shade: int | None = None,
    **more: Any,
) -> Left:
    """The end of that sighting, or a whole one; with pictures of one shade, and a template."""
    if event is not None:
        source, start = event.source, event.start.pts
    made = Left(
        source=source,
        sighting=uuid.uuid4().hex if event is None else event.sighting,
        track_id=1,
        model="m",
        start=Moment.at(start, EPOCH + start),
        end=Moment.at(start + seconds, EPOCH + start + seconds),
        best_box=(1, 2, 30, 40),
        best_pts=start,
        best_score=0.9,
        faces=7,
        looks=2,
        verdict=verdict,
        **more,
    )
    if shade is not None:
        picture = np.full((20, 30, 3), shade, np.uint8)
        made = made.with_image(picture, np.full((112, 112, 3), shade, np.uint8))
    return made.with_template(
        FusedTemplate(np.arange(4, dtype=np.float32), np.zeros(4, np.float32), 0.3)
    )
