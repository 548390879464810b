"""What changed in a camera's picture, and what is searched of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest
from facestream.engines.base import Engine
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Frame, FrameResult, Image
from facestream.pipeline.detection.motion_gate import Changes, SearchPlan
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.region import View
from facestream.pipeline.stages.detect import DetectStage
from hypothesis import given
from hypothesis import strategies as st

from tests.faces import portrait

HEIGHT, WIDTH = 360, 640


def background(seed: int = 0) -> Image:
    """A room: smooth shapes of many shades."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (9, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(image: Image, rng: np.random.Generator, sigma: float = 3.0) -> Image:
    noise = rng.normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def with_patch(image: Image, left: int, top: int, side: int = 60) -> Image:
    image = image.copy()
    image[top : top + side, left : left + side] = 230
    return image


def face(left: float, top: float, side: float = 60) -> Faces:
    box = np.array([[left, top, left + side, top + side]], np.float32)
    landmarks = np.full((1, 5, 2), (left + side / 2, top + side / 2), np.float32)
    return Faces(box, np.ones(1, np.float32), landmarks)


def seen(changes: Changes, image: Image, at: float, *faces: Faces) -> SearchPlan:
    """The plan for a picture of which all windows but the first found nothing."""
    plan = changes.plan(image, at)
    found = [Faces.join(faces), *[Faces.empty()] * len(plan.windows)]
    changes.found(plan, found[: len(plan.windows)])
    return plan


def is_whole(plan: SearchPlan) -> bool:
    return plan.windows == ((0, 0, WIDTH, HEIGHT),)


def covers(plan: SearchPlan, left: int, top: int, right: int, bottom: int) -> bool:
    return any(
        a <= max(left, 0)
        and b <= max(top, 0)
        and c >= min(right, WIDTH)
        and d >= min(bottom, HEIGHT)
        for a, b, c, d in plan.windows
    )


def test_nothing_is_searched_where_only_the_sensor_noise_changes() -> None:
    rng = np.random.default_rng(1)
    room = background()
    changes = Changes(min_face=40, refresh=100)
    assert is_whole(seen(changes, noisy(room, rng), 0.0))
    for number in range(1, 20):
        assert seen(changes, noisy(room, rng), number / 25).windows == ()


@given(left=st.integers(0, WIDTH - 60), top=st.integers(0, HEIGHT - 60))
def test_what_comes_is_searched_with_its_surroundings(left: int, top: int) -> None:
    room = background()
    changes = Changes(min_face=40, refresh=100)
    seen(changes, room, 0.0)
    plan = seen(changes, with_patch(room, left, top), 0.04)
    assert covers(plan, left - 30, top - 30, left + 90, top + 90)
    assert not is_whole(plan)
    # What went away changed the picture as much.
    assert covers(seen(changes, room, 0.08), left, top, left + 60, top + 60)


@given(
    st.lists(st.tuples(st.integers(0, 580), st.integers(0, 300)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 580), st.integers(0, 300)), max_size=4),
)
def test_windows_lie_apart_and_cut_no_face(
    patches: list[tuple[int, int]], faces: list[tuple[int, int]]
) -> None:
    room = background()
    changes = Changes(min_face=40, refresh=100)
    plan = changes.plan(room, 0.0)
    changes.found(plan, [Faces.join([face(x, y, 50) for x, y in faces])])
    after = room
    for x, y in patches:
        after = with_patch(after, x, y, 40)
    plan = changes.plan(after, 0.04)
    covered = np.zeros((HEIGHT, WIDTH), np.int64)
    for left, top, right, bottom in plan.windows:
        covered[top:bottom, left:right] += 1
    assert covered.max() <= 1
    for row, (x, y) in enumerate(faces):
        part = covered[y : y + 50, x : x + 50]
        # Either it is searched again, all of it, or it stays where it was.
        assert part.all() if row not in plan.kept.tolist() else not part.any()


def test_a_face_that_stands_still_stays_and_one_that_moves_is_searched() -> None:
    room = background()
    changes = Changes(min_face=40, refresh=100)
    still, moving = (40, 40), (500, 250)
    first = with_patch(with_patch(room, *still), *moving)
    seen(changes, first, 0.0, face(*still), face(*moving))
    second = with_patch(with_patch(room, *still), 506, 254)
    plan = changes.plan(second, 0.04)
    assert plan.kept.tolist() == [0]
    assert covers(plan, 490, 240, 576, 324)
    ((left, top, _, _),) = plan.windows
    there = changes.found(plan, [face(506 - left, 254 - top)])
    assert there.boxes.tolist() == [[40, 40, 100, 100], [506, 254, 566, 314]]


def test_slow_changes_add_up() -> None:
    room = background()
    changes = Changes(min_face=40, refresh=100)
    seen(changes, room, 0.0)
    found = []
    for step in range(1, 13):
        dim = room.copy()
        dim[100:200, 300:400] -= np.uint8(step)
        found.append(bool(seen(changes, dim, step / 25).windows))
    assert not found[0]
    assert sum(found) >= 2, "each time it changed by three levels"


@pytest.mark.parametrize("kind", ["light", "camera", "size", "time", "back in time"])
def test_the_whole_is_searched_again(kind: str) -> None:
    room = background()
    changes = Changes(min_face=40, refresh=2.0)
    seen(changes, room, 10.0)
    assert seen(changes, room, 11.9).windows == ()
    image, at = {
        "light": (np.clip(room.astype(int) + 20, 0, 255).astype(np.uint8), 11.95),
        "camera": (np.roll(room, (25, 40), (0, 1)), 11.95),
        "size": (np.ascontiguousarray(room[:180]), 11.95),
        "time": (room, 12.0),
        "back in time": (room, 3.0),
    }[kind]
    assert seen(changes, image, at).windows == ((0, 0, WIDTH, len(image)),)


class Counting:
    """A real detector that notes how much it was given."""

    def __init__(self, detector: Mtcnn) -> None:
        self._detector = detector
        self.min_face = detector.min_face
        self.backend, self.engines = detector.backend, detector.engines
        self.pixels: list[int] = []

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        self.pixels.append(sum(image.shape[0] * image.shape[1] for image in images))
        return self._detector.detect_batch(list(images), min_face=min_face)

    def close(self) -> None:
        self._detector.close()


def test_a_walk_is_followed_as_if_everything_were_searched() -> None:
    pytest.importorskip("skimage")
    rng = np.random.default_rng(3)
    person = np.asarray(cv2.resize(portrait(), (180, 180), interpolation=cv2.INTER_AREA), np.uint8)
    room = background()
    frames = []
    for number in range(24):
        image = room.copy()
        left = 20 + 14 * number
        image[150:330, left : left + 180] = person
        frames.append(noisy(image, rng))
    batch = [
        FrameResult(Frame("door", n, n / 25, 0.0, 0.0, image)) for n, image in enumerate(frames)
    ]
    with Mtcnn(serving=Serving(threads=1)) as detector:
        whole = DetectStage(detector, views=lambda _: View())(batch)
        counting = Counting(detector)
        stage = DetectStage(counting, views=lambda _: View(refresh=100.0))
        parts = stage(batch)
    for one, other in zip(whole, parts, strict=True):
        assert len(one.faces) == len(other.faces) == 1
        np.testing.assert_allclose(other.faces.boxes, one.faces.boxes, atol=6)
        np.testing.assert_allclose(other.faces.landmarks, one.faces.landmarks, atol=4)
    assert counting.pixels[0] == HEIGHT * WIDTH
    assert np.mean(counting.pixels[1:]) < 0.8 * HEIGHT * WIDTH, "of such a large face, mostly"


def test_a_batch_holds_several_frames_of_a_source() -> None:
    room = background()
    stage = DetectStage(OneFace(), views=lambda name: View(refresh=None if name == "b" else 9.0))
    batch = [
        FrameResult(Frame(name, index, index / 25, 0.0, 0.0, room))
        for index in range(3)
        for name in ("a", "b")
    ]
    results = stage(batch)
    assert all(result.detected for result in results)
    assert [len(result.faces) for result in results] == [1] * 6
    assert [r.frame.index for r in results] == [0, 0, 1, 1, 2, 2]


class OneFace:
    """Finds a face at the same place of each picture it is given."""

    backend = "fake"
    engines: Mapping[str, Engine] = {}
    min_face = 40

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        return [face(30, 30) for _ in images]

    def close(self) -> None:
        """Nothing to free."""
