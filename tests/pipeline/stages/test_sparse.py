"""People in pictures that are seconds apart: time lapses, slow cameras, key frames only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from facestream.pipeline.core.events import Left, TrackEvent
from facestream.pipeline.core.types import FrameResult

from tests.pipeline.stages.worlds import Seen, frame, recogniser, rules

ADA, BOB, STRANGER = 0, 1, 7


def sightings(events: Sequence[TrackEvent]) -> list[tuple[str, float, float]]:
    """Name, start and end of each sighting, in the order of their starts."""
    found = [event for event in events if isinstance(event, Left)]
    return sorted(((e.name, e.start.pts, e.end.pts) for e in found), key=lambda one: one[1])


def shaded(result: FrameResult, shade: int) -> FrameResult:
    """The same frame before another background: a cut."""
    image = result.frame.image
    image[image == 5] = shade
    return result


@pytest.mark.parametrize("seconds", [1, 2, 5])
def test_one_who_walks_through_slow_pictures_is_one_sighting(seconds: int) -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events, noise=0.5)
    for i in range(6):  # each time in another place
        stage([frame(25 * seconds * i, Seen(30 + 90 * i, 40 * (i % 3), ADA))])
    stage.flush()
    assert sightings(events) == [("Ada", 0, 5 * seconds)]


@pytest.mark.parametrize("seconds", [1, 5])
def test_a_missed_picture_is_no_absence_and_two_are(seconds: int) -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events)
    for i in range(9):
        seen = [Seen(100, 50, ADA)] if i in (0, 1, 3, 4, 7, 8) else []
        stage([frame(25 * seconds * i, *seen)])
    stage.flush()
    assert sightings(events) == [("Ada", 0, 4 * seconds), ("Ada", 7 * seconds, 8 * seconds)]


def test_pictures_that_all_look_like_cuts_keep_people_together_and_apart() -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events, noise=0.5)
    for i, who in enumerate([ADA, ADA, ADA, BOB, BOB, STRANGER]):
        stage([shaded(frame(25 * i, Seen(100, 50, who)), 120 + 100 * (i % 2))])
    stage.flush()
    assert sightings(events) == [("Ada", 0, 2), ("Bob", 3, 4), ("unknown", 5, 5)]


def test_a_cut_in_a_fast_video_still_ends_everybody() -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events)
    for i in range(20):
        stage([shaded(frame(i, Seen(100, 50, ADA)), 120 if i < 10 else 220)])
    stage.flush()
    assert [(start, end) for _, start, end in sightings(events)] == [(0, 0.36), (0.4, 0.76)]


def test_one_glimpse_in_a_time_lapse_has_a_name() -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events)
    for i in range(6):
        stage([frame(50 * i, *([Seen(100, 50, BOB)] if i in (0, 4) else []))])
    stage.flush()
    assert sightings(events) == [("Bob", 0, 0), ("Bob", 8, 8)]
    assert [event.type for event in events] == ["appeared", "identified", "left"] * 2


def test_a_glimpse_in_a_fast_video_is_not_reported() -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(events)
    for i in range(40):
        stage([frame(i, *([Seen(100, 50, BOB)] if i == 4 else []))])
    stage.flush()
    assert events == []


def test_a_camera_that_sends_a_picture_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its clock it is silent after each: everybody ends, also who was in one picture only."""
    now = 0.0
    monkeypatch.setattr("facestream.pipeline.stages.recognise.time.monotonic", lambda: now)
    events: list[TrackEvent] = []
    stage, _ = recogniser(events, rules=rules(min_faces=3))
    stage([frame(0, Seen(100, 50, ADA))])
    now = 5.0
    stage.tick()
    assert events == []
    now = 7.0
    stage.tick()
    assert sightings(events) == [("Ada", 0, 0)]
    for i in (1, 2, 3):
        now = 60.0 * i
        stage([frame(1500 * i, Seen(100, 50, ADA))])
        stage.tick()
    assert len(sightings(events)) == 1  # one a minute is its rate, no silence
    stage.flush()
    assert sightings(events)[1:] == [("Ada", 60, 180)]
