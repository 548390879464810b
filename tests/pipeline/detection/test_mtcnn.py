"""The detector's promises, apart from whom it agrees with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn import cascade
from facestream.pipeline.detection.mtcnn.detector import KernelChoice, Mtcnn
from facestream.pipeline.detection.mtcnn.networks import open_networks
from facestream.pipeline.detection.mtcnn.parity import NetworkGate
from facestream.pipeline.detection.mtcnn.proposals import (
    Hits,
    Level,
    log_odds,
    probability,
    pyramid,
)
from facestream.pipeline.detection.mtcnn.sampling import AreaSampler

from tests.faces import portrait


@pytest.fixture(scope="module")
def astronaut() -> Image:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="module")
def detector(kernels: KernelChoice) -> Iterator[Mtcnn]:
    with Mtcnn(min_face=20, kernels=kernels) as detector:
        yield detector


def same(a: Faces, b: Faces) -> bool:
    return (
        len(a) == len(b)
        and np.allclose(a.boxes, b.boxes, atol=0.01)
        and np.allclose(a.landmarks, b.landmarks, atol=0.01)
        and np.allclose(a.scores, b.scores, atol=1e-4)
    )


def test_landmarks_are_where_they_are_named(detector: Mtcnn, astronaut: Image) -> None:
    faces = detector.detect(astronaut)
    assert len(faces) == 1
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    x1, y1, x2, y2 = faces.boxes[0]
    assert (faces.landmarks[0] > (x1, y1)).all()
    assert (faces.landmarks[0] < (x2, y2)).all()


def test_a_batch_gives_what_single_pictures_give(detector: Mtcnn, astronaut: Image) -> None:
    images = [
        astronaut,
        np.ascontiguousarray(astronaut[:, ::-1]),
        np.zeros_like(astronaut),
        astronaut[:300, :301],
        astronaut[:1, :1],
    ]
    batch = detector.detect_batch(images)
    assert [len(faces) for faces in batch] == [1, 1, 0, 1, 0]
    assert all(same(a, detector.detect(b)) for a, b in zip(batch, images, strict=True))
    assert detector.detect_batch([]) == []


def test_threads_do_not_disturb_each_other(detector: Mtcnn, astronaut: Image) -> None:
    alone = detector.detect(astronaut)
    found: list[Faces] = []
    threads = [
        threading.Thread(target=lambda: found.append(detector.detect(astronaut))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(same(alone, other) for other in found)


def test_one_thread_finds_the_same_as_all(
    detector: Mtcnn, astronaut: Image, kernels: KernelChoice
) -> None:
    with Mtcnn(min_face=20, serving=Serving(threads=1), kernels=kernels) as single:
        assert same(single.detect(astronaut), detector.detect(astronaut))


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 500), (11, 11), (12, 12), (20, 20), (21, 23), (19, 400)]
)
@pytest.mark.parametrize("fill", ["black", "noise"])
def test_tiny_pictures_have_no_faces(detector: Mtcnn, height: int, width: int, fill: str) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((height, width, 3), np.uint8)
    if fill == "noise":
        image = rng.integers(0, 256, image.shape, dtype=np.uint8)
    assert len(detector.detect(image)) == 0


def test_huge_picture_with_a_face_in_the_corner(astronaut: Image, kernels: KernelChoice) -> None:
    huge = np.zeros((6000, 9000, 3), np.uint8)
    huge[-512:, -512:] = astronaut
    with Mtcnn(min_face=80, kernels=kernels) as detector:
        faces = detector.detect(huge)
        plain = detector.detect(astronaut)
    assert len(faces) == len(plain) == 1
    assert np.abs(faces.boxes[0] - plain.boxes[0] - [8488, 5488, 8488, 5488]).max() < 15


def test_grey_and_views_are_taken_as_they_are(detector: Mtcnn, astronaut: Image) -> None:
    grey = cv2.cvtColor(cv2.cvtColor(astronaut, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert len(detector.detect(grey.astype(np.uint8))) == 1
    mirrored = astronaut[:, ::-1]
    assert same(detector.detect(mirrored), detector.detect(np.ascontiguousarray(mirrored)))


def test_the_picture_is_not_changed(detector: Mtcnn, astronaut: Image) -> None:
    before = astronaut.copy()
    detector.detect(astronaut)
    assert (before == astronaut).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 10), np.uint8), "H×W×3"),
        (np.zeros((10, 10, 4), np.uint8), "H×W×3"),
        (np.zeros((10, 10, 3), np.float32), "uint8, not float32"),
        (np.zeros((0, 10, 3), np.uint8), "no pixels"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_refused(detector: Mtcnn, image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detector.detect(image)
    with pytest.raises(ValueError, match=message):
        detector.detect_batch([image, image])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "quick"}, "mode"),
        ({"kernels": "on"}, "kernels"),
        ({"min_face": 5}, "min_face"),
        ({"factor": 1.0}, "factor"),
        ({"thresholds": (0.6, 0.7)}, "thresholds"),
        ({"thresholds": (0.6, 0.7, 1.0)}, "thresholds"),
        ({"serving": Serving(backend="cobol")}, "backend"),  # type: ignore[arg-type]
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mtcnn(**options)


def test_pyramid_ends_where_a_face_fills_the_picture() -> None:
    levels = pyramid(720, 1280, min_face=40, factor=0.709)
    assert (levels[0].height, levels[0].width) == (217, 385)
    assert min(levels[-1].height, levels[-1].width) >= 12
    assert min(levels[-1].height, levels[-1].width) * 0.709 < 12
    assert pyramid(39, 2000, min_face=40, factor=0.709) == ()
    assert len(pyramid(40, 40, min_face=40, factor=0.709)) == 1


def test_log_odds_and_probability_are_inverse() -> None:
    values = np.array([1e-6, 0.1, 0.5, 0.6, 0.999], np.float32)
    odds = np.array([log_odds(float(value)) for value in values], np.float32)
    assert probability(odds) == pytest.approx(values, rel=1e-5)
    assert log_odds(0) == -np.inf
    assert log_odds(1) == np.inf
    assert probability(np.array([-1e9, 1e9], np.float32)).tolist() == [pytest.approx(0), 1]


@pytest.mark.parametrize("shape", [(200, 300), (201, 300), (200, 301), (201, 301)])
def test_the_screen_misses_no_cell(astronaut: Image, shape: tuple[int, int]) -> None:
    """Hits by bfloat16 first and one by one after, against the whole level in float32."""
    sampler, levels = AreaSampler(astronaut), [Level(0, *shape)]
    odds = log_odds(0.6)
    quick = open_networks(Serving(backend="openvino", threads=1), screen=True, gate=NetworkGate)
    whole = open_networks(Serving(backend="openvino", threads=1), screen=False, gate=NetworkGate)
    (a,), (b,) = quick.cells(sampler, levels, odds), whole.cells(sampler, levels, odds)
    quick.close()
    whole.close()
    assert _places(a) == _places(b)
    assert a.values == pytest.approx(b.values, abs=1e-4)


def _places(cells: Hits) -> list[tuple[int, int]]:
    return list(zip(cells.rows.tolist(), cells.columns.tolist(), strict=True))


def test_each_picture_can_have_its_own_smallest_face(
    astronaut: Image, kernels: KernelChoice
) -> None:
    with (
        Mtcnn(min_face=40, kernels=kernels) as forty,
        Mtcnn(min_face=20, kernels=kernels) as twenty,
    ):
        expected = [forty.detect(astronaut), twenty.detect(astronaut), Faces.empty()]
        found = forty.detect_batch([astronaut] * 3, min_face=[None, 20, 300])
        assert all(same(a, b) for a, b in zip(found, expected, strict=True))
        assert all(same(a, expected[1]) for a in forty.detect_batch([astronaut] * 2, min_face=20))
        assert same(forty.detect_batch([astronaut], min_face=20)[0], expected[1])
        with pytest.raises(ValueError, match="min_face has 1 sizes for 2 images"):
            forty.detect_batch([astronaut] * 2, min_face=[20])
        with pytest.raises(ValueError, match="min_face must be at least 12 pixels, not 3"):
            forty.detect_batch([astronaut], min_face=3)


def test_of_too_many_proposals_the_best_are_searched(
    detector: Mtcnn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("skimage")
    image = portrait()
    whole = detector.detect(image)
    assert len(whole) == 1
    monkeypatch.setattr(cascade, "MOST_PROPOSALS", 3)
    few = detector.detect(image)
    assert "the best 3 are searched" in caplog.text
    np.testing.assert_allclose(few.boxes, whole.boxes, atol=4)
