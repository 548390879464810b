"""Real videos with hardly a picture a second, or hardly a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.core.events import Event, Left
from facestream.pipeline.sinks.base import Sink


class Keeping(Sink):
    def __init__(self) -> None:
        self.left: list[Left] = []

    def event(self, event: Event) -> None:
        if isinstance(event, Left):
            self.left.append(event)


@pytest.mark.parametrize(
    ("name", "sightings"),
    [
        # Two people with an empty picture between them; each picture is unlike the one before.
        ("03-one-fps.mp4", [(0, 2), (5, 7)]),
        ("28-two-frames.mp4", [(0, 0.04)]),
    ],
)
def test_slow_and_short_videos(
    shared_data: Path, name: str, sightings: list[tuple[float, float]]
) -> None:
    path = shared_data.parent / "cases" / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    keeping = Keeping()
    with Pipeline([path], sinks=[keeping]) as pipeline:
        pipeline.run()
    found = sorted((event.start.pts, event.end.pts) for event in keeping.left)
    assert found == [pytest.approx(span, abs=0.01) for span in sightings]
