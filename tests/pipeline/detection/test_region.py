"""What of a picture is searched, and that it finds what a search of the whole finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.config import Polygon, Settings
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.region import View, inside, view_of
from hypothesis import given
from hypothesis import strategies as st

from tests.faces import portrait

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


@pytest.fixture(scope="module")
def detector() -> Iterator[Mtcnn]:
    with Mtcnn(min_face=40) as detector:
        yield detector


@pytest.fixture(scope="module")
def hall() -> Image:
    """A grey hall of 1280×720 with four faces of 60 to 150 pixels, two on each side."""
    pytest.importorskip("skimage")
    image = np.full((720, 1280, 3), 110, np.uint8)
    face = portrait()[10:250, 110:350]
    for side, left, top in ((300, 40, 30), (160, 420, 480), (200, 700, 60), (240, 1000, 400)):
        image[top : top + side, left : left + side] = cv2.resize(
            face, (side, side), interpolation=cv2.INTER_AREA
        )
    return image


def search(view: View, image: Image, detector: Mtcnn) -> Faces:
    region = view.region(*image.shape[:2])
    return region.restore(detector.detect_batch([region.cut(image)], min_face=[region.min_face])[0])


def centres(faces: Faces) -> Floats:
    return np.asarray((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2, np.float32)


def agree(found: Faces, whole: Faces, *, least: float) -> bool:
    """The same faces, whatever their order: by overlap, landmarks within a tenth of the face."""
    if len(found) != len(whole):
        return False
    overlap = iou_matrix(found.boxes, whole.boxes)
    partner = overlap.argmax(axis=1)
    sides = (whole.boxes[partner, 2] - whole.boxes[partner, 0])[:, None, None]
    shift = np.abs(found.landmarks - whole.landmarks[partner]) / sides
    return bool((overlap.max(axis=1) > least).all() and (shift < 0.1).all())


def test_the_whole_is_searched_as_it_is(detector: Mtcnn, hall: Image) -> None:
    region = View().region(720, 1280)
    assert region.cut(hall).shape == hall.shape
    assert np.shares_memory(region.cut(hall), hall)
    faces = detector.detect(hall)
    assert len(faces) == 4
    assert region.restore(faces) is faces


@pytest.mark.parametrize("size", [1000, 640, 480])
def test_a_smaller_picture_has_the_same_faces(detector: Mtcnn, hall: Image, size: int) -> None:
    found = search(View(size=size, min_face=40), hall, detector)
    assert agree(found, detector.detect(hall), least=0.7)


def test_a_larger_size_than_the_picture_changes_nothing() -> None:
    assert View(size=4000, min_face=40).region(720, 1280).size == (720, 1280)


@pytest.mark.parametrize("size", [None, 640])
def test_what_is_watched_has_the_faces_of_its_part(
    detector: Mtcnn, hall: Image, size: int | None
) -> None:
    whole = detector.detect(hall)
    view = View(watch=(LEFT,), size=size, min_face=40)
    region = view.region(720, 1280)
    assert region.box == (0, 0, 704, 720)  # five hundredths of the width around it
    assert np.shares_memory(region.cut(hall), hall) == (size is None)
    found = search(view, hall, detector)
    left = whole.take(np.flatnonzero(centres(whole)[:, 0] < 640))
    assert len(left) == 2
    assert agree(found, left, least=0.7)


def test_a_face_in_a_corner_comes_back_where_it_is(detector: Mtcnn, hall: Image) -> None:
    corner = ((0.75, 0.5), (1.0, 0.5), (1.0, 1.0), (0.75, 1.0))
    found = search(View(watch=(corner,), min_face=40), hall, detector)
    whole = detector.detect(hall)
    expected = whole.take(np.flatnonzero((centres(whole) > (960, 360)).all(axis=1)))
    assert len(expected) == 1
    assert agree(found, expected, least=0.7)


def test_nothing_comes_from_a_mask(detector: Mtcnn, hall: Image) -> None:
    found = search(View(mask=(LEFT,), min_face=40), hall, detector)
    assert len(found) == 2
    assert (centres(found)[:, 0] > 640).all()
    assert len(search(View(mask=(LEFT, RIGHT), min_face=40), hall, detector)) == 0
    assert len(search(View(mask=(LEFT,), watch=(LEFT,), min_face=40), hall, detector)) == 0


@pytest.mark.shared_data
def test_a_street_is_the_same_in_parts(detector: Mtcnn, shared_data: Path) -> None:
    with av.open(str(shared_data / "videos" / "street_crowd_1080p.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="bgr24")
    image = np.asarray(cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_AREA), np.uint8)
    whole = detector.detect(image)
    assert len(whole) >= 4
    sure = whole.take(np.flatnonzero(whole.scores > 0.98))
    for view in (View(size=960, min_face=40), View(watch=(LEFT, RIGHT), min_face=40)):
        found = search(view, image, detector)
        assert (iou_matrix(sure.boxes, found.boxes).max(axis=1) > 0.7).all()
    band = ((0.0, 0.2), (1.0, 0.2), (1.0, 0.7), (0.0, 0.7))
    found = search(View(watch=(band,), min_face=40), image, detector)
    y = centres(found)[:, 1]
    assert ((y >= 0.2 * 720) & (y <= 0.7 * 720)).all()
    y = centres(sure)[:, 1]
    expected = sure.take(np.flatnonzero((y > 0.22 * 720) & (y < 0.68 * 720)))
    assert (iou_matrix(expected.boxes, found.boxes).max(axis=1) > 0.7).all()


fractions = st.floats(0, 1)


@st.composite
def rectangles(draw: st.DrawFn) -> Polygon:
    left, right = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@given(
    st.lists(rectangles(), max_size=3),
    st.none() | st.integers(32, 2000),
    st.tuples(st.integers(16, 400), st.integers(16, 400)),
    st.tuples(fractions, fractions),
)
def test_places_come_back_where_they_were(
    watch: list[Polygon], size: int | None, shape: tuple[int, int], place: tuple[float, float]
) -> None:
    height, width = shape
    region = View(watch=tuple(watch), size=size).region(height, width)
    left, top, right, bottom = region.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    part = region.cut(np.zeros((height, width, 3), np.uint8))
    assert part.shape[:2] == region.size
    if size is not None:
        assert max(part.shape) <= size
    point = np.array([place[0] * region.size[1], place[1] * region.size[0]], np.float32)
    face = Faces(
        boxes=np.tile(point, 2)[None],
        scores=np.ones(1, np.float32),
        landmarks=np.tile(point, (1, 5, 1)),
    )
    expected = np.array([left + place[0] * (right - left), top + place[1] * (bottom - top)])
    everywhere = View(size=size).region(height, width) if not watch else region
    found = everywhere.restore(face)
    if len(found):
        assert np.allclose(found.boxes[0, :2], expected, atol=0.01)
        assert np.allclose(found.landmarks[0], expected, atol=0.01)
    else:
        assert watch


@given(rectangles(), st.lists(st.tuples(fractions, fractions)))
def test_inside_a_rectangle(rectangle: Polygon, points: list[tuple[float, float]]) -> None:
    array = np.array(points, np.float32).reshape(-1, 2)
    polygon = np.array(rectangle, np.float32)
    (left, top), (right, bottom) = polygon[0], polygon[2]
    x, y = array.T
    expected = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    assert (inside(array, polygon) == expected).all()


def test_inside_a_star_with_a_dent() -> None:
    dented = np.array([(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)], np.float32)
    points = np.array([(1, 1), (3, 1), (2, 3), (2, 0.5), (5, 1)], np.float32)
    assert inside(points, dented).tolist() == [True, True, False, True, False]


def test_a_view_is_what_the_settings_say() -> None:
    settings = Settings().with_values(
        {
            "tracking.detect_every": 3,
            "cameras": {
                "door": {
                    "device": 0,
                    "detect_size": 640,
                    "watch": [LEFT],
                    "detector": {"min_face": 60},
                },
                "gate": {"device": 1, "detect_every": 5, "mask": [RIGHT]},
            },
        }
    )
    assert view_of(settings, "clip.mp4") == View(every=3)
    assert view_of(settings, "clip.mp4", live=True).refresh is not None
    assert view_of(settings, "clip.mp4", live=True, resident=True) == View(every=3)
    assert view_of(settings, "door") == View(every=3, min_face=60, size=640, watch=(LEFT,))
    assert view_of(settings, "gate") == View(every=5, min_face=40, mask=(RIGHT,))
    assert view_of(settings, "door").region(720, 1280).min_face == 30
    assert view_of(settings, "door").region(2160, 3840).min_face == 12
