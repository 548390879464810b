"""Frames and tracks for tests of what comes after recognition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from facestream.pipeline.core.events import Left, Moment
from facestream.pipeline.core.types import (
    Frame,
    FrameResult,
    Identity,
    Image,
    Reason,
    TrackSnapshot,
)


def picture(width: int = 64, height: int = 48, *, shade: int = 128) -> Image:
    """A plain grey picture."""
    return np.full((height, width, 3), shade, np.uint8)


def track(
    box: tuple[float, float, float, float] = (10, 10, 30, 36),
    *,
    name: str | None = None,
    reason: Reason = "below_threshold",
    sigma: float = 0.2,
) -> TrackSnapshot:
    """A track with a name, or unknown."""
    identity = (
        Identity(1, name, 0.87, 0.99, None)
        if name is not None
        else Identity.unknown(reason, similarity=0.3)
    )
    return TrackSnapshot(
        1, np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.9, identity, sigma, 4
    )


def result(
    image: Image,
    *tracks: TrackSnapshot,
    index: int = 0,
    pts: float = 0.0,
    source: str = "clip.mp4",
    still: bool = False,
) -> FrameResult:
    """A finished frame."""
    return FrameResult(Frame(source, index, pts, 1e9 + pts, 0.0, image, still), tracks=tracks)


def sighting(*, track_id: int = 1, name: str | None = None, source: str = "clip.mp4") -> Left:
    """A finished track."""
    return Left(
        source=source,
        sighting=f"{source}-{track_id}",
        track_id=track_id,
        start=Moment.at(0.0, 1e9),
        end=Moment.at(1.0, 1e9 + 1),
        person_id=None if name is None else 1,
        name=name or "unknown",
        reason=None if name else "below_threshold",
        best_box=(1, 2, 3, 4),
        best_pts=0.5,
        best_score=0.9,
        faces=3,
        model="test",
    )


def read_video(path: Path) -> tuple[list[Image], list[float]]:
    """All pictures (BGR) and times of a video."""
    import av

    pictures, times = [], []
    with av.open(str(path), "r") as file:
        for frame in file.decode(video=0):
            pictures.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            times.append(float(frame.time or 0.0))
    return pictures, times
