"""Tracking, looking, fusing and naming, with an encoder whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from facestream.pipeline.core.events import Left, TrackEvent
from facestream.pipeline.core.types import Faces, Floats, Frame, FrameResult, Image, Matches
from facestream.pipeline.detection.region import View
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.hysteresis import HysteresisRules
from facestream.pipeline.identity.search import Matcher
from facestream.pipeline.stages.detect import DetectStage
from facestream.pipeline.stages.recognise import RecogniseStage
from facestream.pipeline.stages.rules import TrackingRules
from facestream.pipeline.stages.track_events import EmissionRules
from facestream.pipeline.tracking.embedding_schedule import EmbeddingPolicy
from facestream.pipeline.tracking.interval import SearchInterval
from facestream.pipeline.tracking.tracker import Tracklet

DIM = 4
ADA, BOB = 1, 2


def face_at(x: float, y: float, side: float = 60.0) -> tuple[list[float], list[list[float]]]:
    """A box and landmarks of a frontal face."""
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    return [x, y, x + side, y + side], [[x + a * side, y + b * side] for a, b in points]


def result(
    index: int, *faces: tuple[float, float], colour: int = 90, **more: object
) -> FrameResult:
    """A frame with faces at these places; the picture's colour tells the encoder who it is."""
    boxes, landmarks = zip(*(face_at(*f) for f in faces), strict=True) if faces else ((), ())
    image = np.full((240, 320, 3), colour, np.uint8)
    found = Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(faces), 0.99, np.float32),
        np.array(landmarks, np.float32).reshape(-1, 5, 2),
    )
    frame = Frame("clip", index, index / 25, 1000 + index / 25, 0.0, image)
    return FrameResult(replace(frame, **more), faces=found, detected=True)  # type: ignore[arg-type]


class ColourEncoder:
    """Embeds a crop by its colour: 90 is Ada, 105 is Bob, anything else a stranger."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        self.seen.append(len(crops))
        axis = {90: 0, 105: 1}
        rows = [axis.get(round(float(c[40:70, 40:70].mean())), 2) for c in crops]
        return np.eye(DIM, dtype=np.float32)[rows], np.full((len(crops), DIM), -2, np.float32)


class TwoPeople:
    """A gallery of Ada and Bob."""

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        unit = mu / np.linalg.norm(mu, axis=1, keepdims=True)
        similar = unit[:, :2].astype(np.float32)
        order = np.argsort(-similar, axis=1)
        ids = np.array([ADA, BOB])[order]
        names = tuple(tuple({ADA: "Ada", BOB: "Bob"}[int(i)] for i in row) for row in ids)
        return Matches(np.take_along_axis(similar, order, 1), ids, names)

    def templates(self) -> int:
        return 2

    def refresh(self) -> bool:
        return False


@pytest.fixture
def events() -> list[TrackEvent]:
    return []


def stage(
    events: list[TrackEvent],
    looks: EmbeddingPolicy | None = None,
    *,
    max_sigma: float = float("inf"),
    confirm: int = 1,
    min_faces: int = 1,
) -> RecogniseStage:
    rules = TrackingRules(
        embedding=looks or EmbeddingPolicy(),
        hysteresis=HysteresisRules(confirm=confirm),
        emission=EmissionRules(min_faces=min_faces),
    )
    return RecogniseStage(
        ColourEncoder(),
        Matcher(TwoPeople(), Thresholds(similarity=0.4, max_sigma=max_sigma)),
        rules=lambda source: rules,
        on_event=events.append,
        model="m",
    )


def left(events: list[TrackEvent]) -> list[Left]:
    return [event for event in events if isinstance(event, Left)]


def test_a_moving_face_is_one_named_track(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    done = recognise([result(i, (20 + 4 * i, 50)) for i in range(10)])
    assert {t.track_id for r in done for t in r.tracks} == {1}
    assert [r.tracks[0].faces for r in done] == list(range(1, 11))
    assert all(r.tracks[0].identity.name == "Ada" for r in done)
    np.testing.assert_allclose([r.tracks[0].box[0] for r in done], [20 + 4 * i for i in range(10)])
    assert left(events) == []
    recognise.flush()
    assert [(e.faces, e.start.pts, e.end.pts) for e in left(events)] == [(10, 0.0, 0.36)]


def test_batches_do_not_change_what_is_found(events: list[TrackEvent]) -> None:
    frames = [result(i, (20 + 5 * i, 50), (250 - 5 * i, 140)) for i in range(12)]
    at_once = stage([])(list(frames))
    one_by_one = stage([])
    single = [one_by_one([frame])[0] for frame in frames]
    assert [[(t.track_id, t.faces, t.identity) for t in r.tracks] for r in at_once] == [
        [(t.track_id, t.faces, t.identity) for t in r.tracks] for r in single
    ]


def test_a_sure_face_is_looked_at_ever_more_rarely(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    for i in range(250):
        recognise([result(i, (20, 50))])
    # At 0 s, then after pauses of 0.4, 0.8, 1.6, 3.2 and 4 s.
    assert recognise.embedded == 5


def test_every_embeds_all(events: list[TrackEvent]) -> None:
    recognise = stage(events, EmbeddingPolicy(policy="every"))
    done = recognise([result(i, (20, 50)) for i in range(25)])
    assert recognise.embedded == 25
    assert all(r.faces.mu is not None for r in done)


def test_somebody_else_in_the_same_place_is_another_track(events: list[TrackEvent]) -> None:
    recognise = stage(events, EmbeddingPolicy(policy="every"))
    frames = [result(i, (20, 50), colour=90 if i < 5 else 105) for i in range(10)]
    done = recognise(frames)
    recognise.flush()
    assert [r.tracks[0].identity.name for r in done] == ["Ada"] * 5 + ["Bob"] * 5
    assert [e.name for e in left(events)] == ["Ada", "Bob"]
    assert left(events)[1].start.pts == pytest.approx(0.2)


def test_a_cut_ends_all_tracks(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    recognise([result(0, (20, 50)), result(1, (20, 50)), result(2, (20, 50), colour=220)])
    assert [e.end.pts for e in left(events)] == [0.04]


def test_a_face_that_is_gone_ends_after_the_absence(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    frames = [result(i, (20, 50)) for i in range(3)] + [result(i) for i in range(3, 40)]
    recognise(frames)
    assert [e.end.pts for e in left(events)] == [pytest.approx(0.08)]


def test_a_short_absence_is_bridged(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    frames = [result(i, *([(20, 50)] if i % 8 == 0 else [])) for i in range(33)]
    recognise(frames)
    recognise.flush()
    assert [e.faces for e in left(events)] == [5]


def test_photos_do_not_share_tracks(events: list[TrackEvent]) -> None:
    recognise = stage(events, confirm=2, min_faces=3)
    done = recognise([result(i, (20, 50), still=True) for i in range(3)])
    recognise.flush()
    assert len({r.tracks[0].track_id for r in done}) == 3
    assert [e.name for e in left(events)] == ["Ada"] * 3


def test_tracks_too_short_to_be_believed_are_not_reported(events: list[TrackEvent]) -> None:
    recognise = stage(events, min_faces=3)
    recognise([*(result(i, (20, 50)) for i in range(2)), result(2)])
    recognise.flush()
    assert events == []


def test_all_frames_of_a_short_video_count_like_photos(events: list[TrackEvent]) -> None:
    recognise = stage(events, min_faces=3)
    recognise([result(i, (20, 50)) for i in range(2)])
    recognise.flush()
    assert [event.type for event in events] == ["appeared", "identified", "left"]


def test_one_person_is_in_a_frame_once(events: list[TrackEvent]) -> None:
    done = stage(events)([result(0, (20, 50), (200, 50))])
    names = [t.identity.name for t in done[0].tracks]
    reasons = {t.identity.reason for t in done[0].tracks}
    assert sorted(names, key=str) == ["Ada", None]
    assert reasons == {None, "taken"}


def test_frames_without_detection_carry_the_tracks_on(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    skipped = FrameResult(result(2).frame, detected=False)
    done = recognise([result(0, (20, 50)), result(1, (24, 50)), skipped])
    moved = done[2].tracks[0]
    assert moved.track_id == done[0].tracks[0].track_id
    assert moved.box[0] > 24
    assert not done[2].detected


def test_a_source_that_ends_gives_up_its_tracks_only(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    recognise([result(0, (20, 50)), result(0, (20, 50), source="other")])
    recognise.end_source("other")
    assert [e.source for e in left(events)] == ["other"]
    recognise.end_source("never seen")
    recognise.flush()
    assert [e.source for e in left(events)] == ["other", "clip"]


def test_the_best_picture_is_the_best_face(events: list[TrackEvent]) -> None:
    recognise = stage(events)
    small, large = result(0), result(1)
    small = replace(small, faces=_one_face(100, 100, 40))
    large = replace(large, faces=_one_face(90, 90, 70))
    recognise([small, large])
    recognise.flush()
    (best,) = left(events)
    assert best.best_pts == pytest.approx(0.04)
    np.testing.assert_allclose(best.best_box, [90, 90, 160, 160])


def _one_face(x: float, y: float, side: float) -> Faces:
    box, landmarks = face_at(x, y, side)
    return Faces(
        np.array([box], np.float32), np.ones(1, np.float32), np.array([landmarks], np.float32)
    )


class CountingDetector:
    """Finds one face in every picture and counts the pictures."""

    def __init__(self) -> None:
        self.pictures = 0
        self.closed = 0

    def detect_batch(self, images: list[Image]) -> list[Faces]:
        self.pictures += len(images)
        return [_one_face(10, 10, 50) for _ in images]

    def close(self) -> None:
        self.closed += 1


def test_detection_skips_frames_but_never_photos() -> None:
    detector = CountingDetector()
    detect = DetectStage(detector, views=lambda _: View(every=3))  # type: ignore[arg-type]
    bare = [FrameResult(result(i).frame) for i in range(7)]
    assert [r.detected for r in detect(bare)] == [True, False, False, True, False, False, True]
    assert detector.pictures == 3
    photos = [FrameResult(result(i, still=True).frame) for i in range(4)]
    assert all(len(r.faces) == 1 for r in detect(photos))
    detect.close()
    assert detector.closed == 0  # others use it, too


def test_many_doubtful_looks_do_not_make_a_sure_one(events: list[TrackEvent]) -> None:
    """The fused sigma falls with every look; what counts for a name is the clearest of them."""
    recognise = stage(
        events,
        EmbeddingPolicy(policy="every"),  # every look has sigma exp(-1) = 0.37
        max_sigma=0.3,
    )
    done = recognise([result(12 * i, (20, 50)) for i in range(12)])
    assert done[-1].tracks[0].sigma < 0.3
    assert [r.tracks[0].identity.reason for r in done] == ["uncertain"] * 12


class ByOrder:
    """A tracker for which the n-th faces of all frames are one face, wherever they are."""

    def __init__(self, *, min_iou: float, absence_seconds: float) -> None:
        assert (min_iou, absence_seconds) == (0.2, 3.0)
        self.searched_at = -np.inf
        self.interval = SearchInterval()
        self.live: list[Tracklet] = []

    def cut(self, image: Image) -> bool:
        return False

    def associate(self, boxes: Floats, *, at: float) -> list[Tracklet]:
        self.searched_at = at
        self.live += [Tracklet(n, at, faces=0) for n in range(len(self.live), len(boxes))]
        for tracklet in self.live[: len(boxes)]:
            tracklet.seen_at = at
            tracklet.faces += 1
        return self.live[: len(boxes)]

    def forget_places(self) -> None:
        raise AssertionError

    def expected(self, at: float) -> tuple[list[Tracklet], Floats]:
        return [], np.zeros((0, 4), np.float32)

    def expire(self, at: float) -> list[Tracklet]:
        return []

    def finish(self) -> list[Tracklet]:
        gone, self.live = self.live, []
        return gone


def test_another_tracker_decides_which_face_is_which() -> None:
    events: list[TrackEvent] = []
    stage = RecogniseStage(
        *(ColourEncoder(), Matcher(TwoPeople(), Thresholds(similarity=0.5))),
        rules=lambda _: TrackingRules(min_iou=0.2, absence_seconds=3.0),
        on_event=events.append,
        model="m",
        tracker=ByOrder,
    )
    far = [result(index, (200.0 * (index % 2), 20)) for index in range(4)]
    assert [[track.track_id for track in done.tracks] for done in stage(far)] == [[1]] * 4
    stage.flush()
    assert [event.faces for event in events if isinstance(event, Left)] == [4]
