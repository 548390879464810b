"""The encoder's time is divided among the sources, and what is left out is counted."""

from __future__ import annotations

import numpy as np
from facestream.pipeline.core.types import Faces, Frame, FrameResult
from facestream.pipeline.metrics.families import FACES_LEFT_OUT
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.stages.embedding_queue import MOST_HELD, EmbeddingQueue, Pending
from facestream.pipeline.stages.limits import Limiter, SourceLimits
from facestream.pipeline.tracking.tracker import Tracklet
from hypothesis import given, settings
from hypothesis import strategies as st

IMAGE = np.zeros((8, 8, 3), np.uint8)


def frame_of(source: str, faces: int, *, index: int = 0, patient: bool = False) -> Pending[str]:
    result = FrameResult(Frame(source, index, 0.0, 0.0, 0.0, IMAGE))
    boxes = np.zeros((faces, 4), np.float32)
    item = Pending(result, source, [], [], boxes, rows=list(range(faces)))
    item.patient = patient
    return item


def step(queue: EmbeddingQueue[str], *, face: float) -> list[Pending[str]]:
    """One call of an encoder that takes so many seconds for a face."""
    parts = queue.next(alone=False)
    rows = sum(len(part.rows) for part in parts)
    values = [(np.zeros((len(p.rows), 2), np.float32),) * 2 for p in parts]
    queue.add_embeddings(parts, values, seconds=face * rows)
    return list(queue.complete())


def test_alone_all_faces_of_a_batch_are_embedded_in_one_call() -> None:
    metrics = Metrics()
    queue: EmbeddingQueue[str] = EmbeddingQueue(metrics)
    for index in range(4):
        queue.add(frame_of("camera", 30, index=index))
    assert [len(part.rows) for part in queue.next(alone=True)] == [30] * 4
    assert not metrics.values(FACES_LEFT_OUT)


def test_one_face_does_not_wait_for_a_hundred() -> None:
    queue: EmbeddingQueue[str] = EmbeddingQueue(Metrics())
    queue.add(frame_of("crowd", 100))
    for index in range(10):
        step(queue, face=0.02)
        queue.add(frame_of("good", 1, index=index))
        done = step(queue, face=0.02)
        if not done:
            done = step(queue, face=0.02)
        assert [item.name for item in done] == ["good"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=25),
    st.floats(0.001, 0.2),
    st.booleans(),
)
def test_every_face_is_embedded_or_counted_and_frames_keep_their_order(
    arrivals: list[tuple[str, int]], face: float, patient: bool
) -> None:
    metrics = Metrics()
    queue: EmbeddingQueue[str] = EmbeddingQueue(metrics)
    done: list[Pending[str]] = []
    for index, (source, faces) in enumerate(arrivals):
        queue.add(frame_of(source, faces, index=index, patient=patient))
        done += step(queue, face=face)
        if patient:
            assert all(sum(i.name == s for i in queue.items) <= MOST_HELD for s in "abc")
    queue.let_go()
    while queue:
        done += step(queue, face=face)
    assert len(done) == len(arrivals)
    for source in "abc":
        order = [item.result.frame.index for item in done if item.name == source]
        assert order == sorted(order)
    left_out = sum(metrics.values(FACES_LEFT_OUT).values())
    assert queue.embedded + left_out == sum(faces for _, faces in arrivals)
    assert queue.embedded == sum(len(item.embeddings()[0]) for item in done)
    assert not (patient and left_out)


def faces_at(places: list[tuple[float, float]]) -> Faces:
    boxes = np.array([[x, 0, x + side, side] for x, side in places], np.float32).reshape(-1, 4)
    n = len(places)
    return Faces(boxes, np.full(n, 0.99, np.float32), np.zeros((n, 5, 2), np.float32))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 30), st.integers(0, 12), st.integers(1, 10), st.integers(1, 20))
def test_faces_are_tracked_or_counted(n: int, live: int, faces: int, tracks: int) -> None:
    counted: list[tuple[int, str]] = []
    limiter = Limiter(SourceLimits(faces, tracks, 5.0), lambda k, cause: counted.append((k, cause)))
    found = faces_at([(100.0 * i, 40 + i) for i in range(n)])
    stay = limiter.faces_to_track(found, found.boxes[: min(live, n)], live=live)
    assert len(stay) + sum(k for k, _ in counted) == n
    assert len(stay) <= faces
    assert sum(row >= live for row in stay) <= max(0, tracks - live)


def test_known_faces_come_first_then_the_largest() -> None:
    limiter = Limiter(SourceLimits(2, 100, 5.0), lambda *_: None)
    found = faces_at([(0, 40), (100, 90), (300, 60)])
    assert limiter.faces_to_track(found, found.boxes[:1], live=1) == [0, 1]


def test_the_rate_of_embeddings_is_limited_and_new_faces_take_turns() -> None:
    now = [0.0]
    counted: list[tuple[int, str]] = []
    limiter = Limiter(
        SourceLimits(100, 100, 4.0), lambda k, cause: counted.append((k, cause)), lambda: now[0]
    )
    tracklets = [Tracklet(n, 0.0, faces=3) for n in range(8)]
    seen: set[int] = set()
    for _ in range(2):
        rows = limiter.faces_to_embed(list(range(8)), tracklets, np.ones(8, np.float32))
        assert len(rows) == 4
        for row in rows:
            tracklets[row].plan.count += 1
        seen.update(rows)
        now[0] += 1.0
    assert seen == set(range(8))
    assert counted == [(4, "rate")] * 2
    assert Limiter(None, lambda *_: None).faces_to_embed(
        [0, 1], tracklets, np.ones(8, np.float32)
    ) == [0, 1]
