"""Sightings and their events: who is who through crossings, gaps, doubts and changes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from facestream.pipeline.core.events import Appeared, Identified, Left, TrackEvent, Updated
from facestream.pipeline.core.types import Floats, Matches
from facestream.pipeline.stages import recognise as recognise_module
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.stages.worlds import SIDE, Seen, frame, recogniser, rules

ADA, BOB, CLEO, STRANGER = 0, 1, 2, 7


@pytest.fixture
def events() -> list[TrackEvent]:
    return []


def kinds(events: list[TrackEvent]) -> list[str]:
    return [event.type for event in events]


def left(events: list[TrackEvent]) -> list[Left]:
    return [event for event in events if isinstance(event, Left)]


def test_a_person_appears_is_identified_and_leaves(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events)
    for i in range(20):
        stage([frame(i, Seen(20 + 3 * i, 50, ADA))])
    stage.flush()
    assert kinds(events) == ["appeared", "identified", "left"]
    appeared, identified, gone = events
    assert isinstance(appeared, Appeared)
    assert isinstance(identified, Identified)
    assert isinstance(gone, Left)
    assert (appeared.at.pts, appeared.start.pts, appeared.name) == (0.08, 0.0, "unknown")
    assert identified.name == "Ada"
    assert identified.after == pytest.approx(identified.at.pts)
    assert len({event.sighting for event in events}) == 1
    assert (gone.name, gone.faces, gone.reason) == ("Ada", 20, None)
    assert gone.template is not None
    assert gone.image is not None


@pytest.mark.parametrize("every", [1, 2, 4, 8])
def test_two_who_cross_keep_their_names(events: list[TrackEvent], every: int) -> None:
    """They walk three sides a second towards each other; the one behind is hidden at the middle."""
    stage, _ = recogniser(events, noise=0.5)
    for i in range(72):
        x, y = 30 + 7 * i, 530 - 7 * i
        hidden = abs(x - y) < 0.8 * SIDE
        faces = [Seen(x, 100, ADA)] + ([] if hidden else [Seen(y, 104, BOB)])
        stage([frame(i, *faces, every=every)])
    stage.flush()
    assert sorted(e.name for e in left(events)) == ["Ada", "Bob"]
    assert not [e for e in events if isinstance(e, Updated)]


@pytest.mark.parametrize("every", [1, 4, 8])
def test_exchanged_faces_are_put_right(events: list[TrackEvent], every: int) -> None:
    """Two side by side change places between two frames: boxes alone would swap them."""
    stage, _ = recogniser(events)
    for i in range(64):
        swapped = i >= 32
        a, b = Seen(100, 100, BOB if swapped else ADA), Seen(165, 100, ADA if swapped else BOB)
        done = stage([frame(i, a, b, every=every)])
    stage.flush()
    assert [t.identity.name for t in done[0].tracks] == ["Bob", "Ada"]
    assert sorted(e.name for e in left(events)) == ["Ada", "Bob"]


def test_who_comes_back_in_time_is_the_same_sighting(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events, rules=rules(absence=3.0))
    for i in range(20):
        stage([frame(i, Seen(40, 50, ADA))])
    for i in range(20, 60):
        stage([frame(i)])
    for i in range(60, 80):
        stage([frame(i, Seen(500, 250, ADA))])
    stage.flush()
    assert kinds(events) == ["appeared", "identified", "left"]
    assert left(events)[0].faces == 40


def test_somebody_else_elsewhere_does_not_take_over(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events, rules=rules(absence=3.0))
    for i in range(20):
        stage([frame(i, Seen(40, 50, ADA))])
    for i in range(20, 60):
        stage([frame(i, Seen(500, 250, STRANGER))])
    stage.flush()
    assert [(e.name, e.faces) for e in left(events)] == [("Ada", 20), ("unknown", 40)]


def test_a_name_needs_searches_that_agree(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events, rules=rules(confirm=3))
    done = [stage([frame(i, Seen(40, 50, ADA))])[0] for i in range(40)]
    reasons = [result.tracks[0].identity.reason for result in done]
    first = reasons.index(None)
    assert set(reasons[:first]) == {"pending"}
    assert set(reasons[first:]) == {None}
    assert stage.embedded >= 3


def test_a_person_added_while_they_are_seen_gets_the_name(
    events: list[TrackEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognise_module, "REFRESH_SECONDS", 0.0)
    stage, people = recogniser(events, names=["Ada"], rules=rules(confirm=1))
    for i in range(30):
        stage([frame(i, Seen(40, 50, BOB))])
    assert "identified" not in kinds(events)
    people.names, people.changed = ["Ada", "Bob"], True
    stage([frame(30, Seen(40, 50, BOB))])
    assert kinds(events) == ["appeared", "identified"]
    people.names, people.changed = ["Ada", "Bobby"], True
    stage([frame(31, Seen(40, 50, BOB))])
    people.names, people.changed = ["Ada"], True
    stage([frame(32, Seen(40, 50, BOB))])
    changes = [(e.change, e.previous_name, e.name) for e in events if isinstance(e, Updated)]
    assert changes == [("renamed", "Bob", "Bobby"), ("withdrawn", "Bobby", "unknown")]


def test_during_the_cooldown_nobody_is_announced_again(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events, rules=rules(cooldown=5.0, absence=0.4))
    for start, many in ((0, 20), (60, 20), (300, 20)):  # gone for 1.6 s, then for 8.8 s
        for i in range(start, start + many):
            stage([frame(i, Seen(40, 50, ADA))])
        for i in range(start + many, start + many + 15):
            stage([frame(i)])
    assert kinds(events) == [
        *("appeared", "identified", "left"),
        *("appeared", "left"),
        *("appeared", "identified", "left"),
    ]
    assert {e.name for e in left(events)} == {"Ada"}


def test_a_similarity_that_trembles_does_not_flicker(events: list[TrackEvent]) -> None:
    """The threshold is 0.5; single looks lie at about that, on either side."""
    stage, _ = recogniser(events, noise=1.7)
    for i in range(500):
        stage([frame(i, Seen(40, 50, ADA))])
    stage.flush()
    assert sum(isinstance(e, Updated) and e.change != "surer" for e in events) <= 1


def test_a_source_that_went_silent_ends_its_sightings(
    events: list[TrackEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, _ = recogniser(events, rules=rules(absence=1.0))
    for i in range(10):
        stage([frame(i, Seen(40, 50, ADA))])
        stage.tick()
    assert kinds(events) == ["appeared", "identified"]
    monkeypatch.setattr(recognise_module, "SILENCE_SECONDS", -1.0)
    stage.tick()
    assert kinds(events) == ["appeared", "identified", "left"]
    stage.flush()
    assert len(events) == 3


def test_searches_stop_when_nothing_new_is_learnt(events: list[TrackEvent]) -> None:
    stage, people = recogniser(events)
    for i in range(400):
        stage([frame(i, Seen(40, 50, ADA))])
    assert people.searches <= stage.embedded <= 10


def check_invariants(events: list[TrackEvent]) -> None:
    """What holds for the events of every source, whatever happens."""
    by_sighting = defaultdict(list)
    holder: dict[int, str] = {}
    for event in events:
        by_sighting[event.sighting].append(event)
        if isinstance(event, Identified) or (isinstance(event, Updated) and event.known):
            assert event.person_id is not None
            assert holder.setdefault(event.person_id, event.sighting) == event.sighting
            for person in [p for p, s in holder.items() if s == event.sighting]:
                if person != event.person_id:
                    del holder[person]
        if isinstance(event, Left) or (isinstance(event, Updated) and not event.known):
            for person in [p for p, s in holder.items() if s == event.sighting]:
                del holder[person]
    for events in by_sighting.values():
        names = kinds(events)
        assert names[0] == "appeared"
        assert names[-1] == "left"
        assert names.count("appeared") == names.count("left") == 1
        assert names.count("identified") <= 1
        if "updated" in names:
            assert names.index("identified") < names.index("updated")
        assert len({event.track_id for event in events}) == 1


steps = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)), max_size=3),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=steps,
    batch=st.integers(1, 4),
    confirm=st.integers(1, 3),
    min_faces=st.integers(1, 3),
    noise=st.sampled_from([0.0, 0.8, 2.0]),
    cut=st.integers(0, 30),
)
def test_events_keep_their_promises(
    steps: list[list[tuple[int, int, int]]],
    batch: int,
    confirm: int,
    min_faces: int,
    noise: float,
    cut: int,
) -> None:
    events: list[TrackEvent] = []
    stage, _ = recogniser(
        events, noise=noise, rules=rules(confirm=confirm, min_faces=min_faces, absence=0.5)
    )
    frames = []
    for number, faces in enumerate(steps):
        places = {(x, y): who for x, y, who in faces}
        seen = [Seen(60 + 120 * x, 30 + 100 * y, who) for (x, y), who in places.items()]
        result = frame(3 * number, *seen)
        if number == cut:
            np.copyto(result.frame.image, 255 - result.frame.image)
        frames.append(result)
    for start in range(0, len(frames), batch):
        for done in stage(frames[start : start + batch]):
            people = [t.identity.person_id for t in done.tracks if t.identity.known]
            assert len(people) == len(set(people))
            assert len({t.track_id for t in done.tracks}) == len(done.tracks)
    stage.end_source("clip")
    check_invariants(events)


def test_the_time_that_a_batch_takes_is_no_silence(
    events: list[TrackEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, people = recogniser(events)
    clock = [1000.0]
    monkeypatch.setattr("facestream.pipeline.stages.recognise.time.monotonic", lambda: clock[0])
    search = people.search

    def slow(mu: Floats, k: int, at: object = None) -> Matches:
        clock[0] += 100.0
        return search(mu, k)

    monkeypatch.setattr(people, "search", slow)
    stage([frame(i, Seen(40, 50, ADA)) for i in range(10)])
    stage.tick()
    assert kinds(events) == ["appeared", "identified"]
    clock[0] += 100.0
    stage.tick()
    assert kinds(events) == ["appeared", "identified", "left"]


@pytest.mark.parametrize("withhold", [False, True])
def test_a_flat_face_keeps_its_name_unless_it_is_withheld(
    events: list[TrackEvent], withhold: bool
) -> None:
    """The landmarks of this world move as one plane."""
    stage, _ = recogniser(events, rules=rules(withhold_flat=withhold))
    for i in range(120):
        stage([frame(i, Seen(20 + 3 * i, 50, ADA))])
    stage.flush()
    changes = ["withdrawn"] if withhold else []
    assert [event.change for event in events if isinstance(event, Updated)] == changes
    (identified,) = (event for event in events if isinstance(event, Identified))
    (gone,) = left(events)
    assert (identified.flat, gone.flat) == (None, True)
    if withhold:
        assert (gone.name, gone.reason) == ("unknown", "flat")
        assert gone.similarity == identified.similarity
    else:
        assert (gone.name, gone.reason) == ("Ada", None)


def test_a_withheld_picture_takes_no_name_from_the_person(events: list[TrackEvent]) -> None:
    stage, _ = recogniser(events, rules=rules(withhold_flat=True))
    for i in range(160):
        picture, person = Seen(20 + 3 * i, 50, ADA), Seen(20 + 3 * i, 200, ADA)
        stage([frame(i, *([picture] if i < 110 else [picture, person]))])
    stage.flush()
    assert {(event.name, event.reason) for event in left(events)} == {
        ("unknown", "flat"),
        ("Ada", None),
    }
