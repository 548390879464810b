"""Detection over the frames of several cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from facestream.engines.base import Engine
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Frame, FrameResult, Image, LazyFrame
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.region import View
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.ingest.isolation import SourceIsolation
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.stages.detect import DetectStage, frame_result

from tests.faces import portrait

RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


class Recorder:
    """Finds one face of 10 pixels in the middle of each picture, and notes what it was asked."""

    backend = "fake"
    engines: Mapping[str, Engine] = {}
    min_face = 40

    def __init__(self) -> None:
        self.calls: list[tuple[list[tuple[int, int]], list[int | None] | None]] = []

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        self.calls.append((sizes, None if min_face is None else list(min_face)))
        return [_face(width / 2, height / 2) for height, width in sizes]

    def close(self) -> None:
        self.calls.append(([], None))


def _face(x: float, y: float) -> Faces:
    return Faces(
        boxes=np.array([[x - 5, y - 5, x + 5, y + 5]], np.float32),
        scores=np.ones(1, np.float32),
        landmarks=np.full((1, 5, 2), (x, y), np.float32),
    )


def frame(source: str, index: int = 0, *, size: tuple[int, int] = (120, 160)) -> FrameResult:
    image = np.zeros((*size, 3), np.uint8)
    return FrameResult(Frame(source, index, index / 25, 0.0, 0.0, image))


def test_all_cameras_share_one_call() -> None:
    views = {
        "a": View(),
        "b": View(size=80, min_face=40),
        "c": View(watch=(RIGHT,), min_face=24),
        "d": View(every=2),
    }
    asked: list[str] = []

    def view(name: str) -> View:
        asked.append(name)
        return views[name]

    detector = Recorder()
    stage = DetectStage(detector, views=view)
    stage([frame("d", 0)])
    del detector.calls[:]
    batch = [frame("a"), frame("b"), frame("c"), frame("d", 1), frame("a", 1)]
    results = stage(batch)
    assert detector.calls == [([(120, 160), (60, 80), (120, 88), (120, 160)], [None, 20, 24, None])]
    assert [r.frame for r in results] == [r.frame for r in batch]
    assert [r.detected for r in results] == [True, True, True, False, True]
    middles = [r.faces.landmarks[0, 0].tolist() for r in results if r.detected]
    assert middles == [[80, 60], [80, 60], [72 + 44, 60], [80, 60]]
    stage([frame("a", 2), frame("d", 2)])
    assert asked == ["d", "a", "b", "c"]
    assert detector.calls[-1] == ([(120, 160), (120, 160)], None)


def test_no_call_where_no_frame_is_due() -> None:
    detector = Recorder()
    stage = DetectStage(detector, views=lambda _: View(every=4))
    assert stage([]) == []
    stage([frame("a", 4)])
    del detector.calls[:]
    assert [r.detected for r in stage([frame("a", i) for i in (5, 6, 7)])] == [False] * 3
    assert detector.calls == []


def test_every_nth_frame_is_searched_and_photos_always() -> None:
    stage = DetectStage(Recorder(), views=lambda _: View(every=3))
    batch = [frame("a", index) for index in range(7)]
    photo = replace(batch[4], frame=replace(batch[4].frame, still=True))
    results = stage([*batch[:4], photo, *batch[5:]])
    assert [r.frame.index for r in results if r.detected] == [0, 3, 4, 6]


def test_where_the_nth_frame_was_dropped_the_next_one_is_searched() -> None:
    stage = DetectStage(Recorder(), views=lambda _: View(every=4))
    came = [0, 1, 5, 6, 7, 11, 12, 13]  # a busy machine: 4 and 8 to 10 were superseded
    results = [stage([frame("a", index)])[0] for index in came]
    assert [r.frame.index for r in results if r.detected] == [0, 5, 11, 12]


def test_masked_faces_do_not_leave_the_stage() -> None:
    stage = DetectStage(Recorder(), views=lambda _: View(mask=(RIGHT,)))
    (result,) = stage([frame("a", size=(100, 200))])  # its face is on the edge of the mask
    assert result.detected
    assert len(result.faces) == 0


def test_a_batch_of_different_cameras_finds_what_each_alone_does() -> None:
    pytest.importorskip("skimage")
    image = portrait()
    views = {"a": View(min_face=40), "b": View(min_face=40, size=300), "c": View(min_face=300)}

    def search(names: Sequence[str]) -> list[FrameResult]:
        return stage([FrameResult(Frame(name, 0, 0.0, 0.0, 0.0, image)) for name in names])

    with Mtcnn(min_face=60, serving=Serving(threads=2)) as detector:
        stage = DetectStage(detector, views=lambda name: views[name])
        together = search(["a", "b", "c", "a"])
        alone = [search([name])[0] for name in ("a", "b", "c", "a")]
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one.faces.boxes, other.faces.boxes, atol=0.01)
        assert np.allclose(one.faces.landmarks, other.faces.landmarks, atol=0.01)
    assert [len(r.faces) for r in together] == [1, 1, 0, 1]


def test_a_lazy_frame_is_converted_when_it_is_taken() -> None:
    metrics = Metrics()
    isolation = SourceIsolation(metrics)
    plain = frame("a").frame
    made = frame_result(plain, isolation)
    assert made is not None
    assert made.frame is plain
    lazy = LazyFrame("a", 3, 0.12, 5.0, 1.0, lambda: plain.image)
    made = frame_result(lazy, isolation)
    assert made is not None
    assert (made.frame.index, made.frame.image is plain.image) == (3, True)
    assert metrics.dropped() == {}


def test_a_live_frame_that_cannot_be_converted_is_counted_and_its_source_finishes() -> None:
    metrics, queue = Metrics(), SourceQueue[Frame | LazyFrame]()
    buffer = queue.open("a", live=True)
    state = SourceState("a", live=True, done=True, buffer=buffer)
    isolation = SourceIsolation(metrics)
    isolation.watch([state])
    buffer.put(LazyFrame("a", 0, 0.0, 0.0, 0.0, lambda: None))
    buffer.close()
    (item,) = queue.get_batch(1, 0.0)
    assert not state.finished
    assert frame_result(item, isolation) is None
    assert metrics.dropped() == {"a": {"corrupt": 1}}
    assert state.finished
