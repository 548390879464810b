"""A picture of a face moves as a plane does; a head that turns does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.detection import open_detector
from facestream.pipeline.tracking.parallax import Parallax

from tests.faces import portrait

# Eyes, nose and corners of the mouth in distances of the eyes; the third is towards the camera.
HEAD = np.array(
    [(-0.5, -0.6, 0), (0.5, -0.6, 0), (0, 0, 0.45), (-0.4, 0.6, 0.15), (0.4, 0.6, 0.15)], np.float32
)
PICTURE = HEAD * np.array((1, 1, 0), np.float32)
NOISE = 0.012  # of the detector, in distances of the eyes
EYES = 30.0

Views = Callable[[float], tuple[float, float, float]]


def _swaying(at: float) -> tuple[float, float, float]:
    return 12 * np.sin(2 * at), 6 * np.sin(1.3 * at), 5 * np.sin(at)


def _holding_still(at: float) -> tuple[float, float, float]:
    return 0.0, 0.0, 0.0


def _seen(
    shape: Floats,
    angles: Views = _swaying,
    *,
    seconds: float = 5.0,
    walk: float = 1.0,
    eyes: float = EYES,
) -> bool | None:
    """What is said of landmarks that turn by these angles (degrees) and walk to the right."""
    rng = np.random.default_rng(1)
    parallax = Parallax()
    for at in np.arange(0, seconds, 0.04):
        yaw, pitch, roll = np.radians(angles(at))
        turn = np.eye(3)
        for vector in ((0, yaw, 0), (pitch, 0, 0), (0, 0, roll)):
            turn = turn @ cv2.Rodrigues(np.array(vector, float))[0]
        points = (shape @ turn.T)[:, :2] + NOISE * rng.normal(size=(5, 2))
        parallax.add((points * eyes + 200 + 10 * walk * at).astype(np.float32), float(at))
    return parallax.flat


def test_a_picture_that_is_held_up_is_flat() -> None:
    assert _seen(PICTURE) is True


def test_a_head_that_turns_is_not() -> None:
    assert _seen(HEAD, lambda at: (25 * np.sin(2 * at), 0, 0)) is False
    assert _seen(HEAD) is None  # half as far: neither a plane nor clearly none


@pytest.mark.parametrize(
    ("shape", "seconds"), [(PICTURE, 3.0), (HEAD, 1.5)], ids=["picture", "head"]
)
def test_a_short_track_is_open(shape: Floats, seconds: float) -> None:
    assert _seen(shape, seconds=seconds) is None


def test_without_motion_only_a_long_time_tells() -> None:
    assert _seen(HEAD, _holding_still, walk=0, seconds=15) is None
    assert _seen(PICTURE, _holding_still, walk=0, seconds=21) is True


def test_small_faces_and_profiles_are_open() -> None:
    assert _seen(PICTURE, eyes=10) is None
    assert _seen(HEAD, lambda at: (60 + 3 * np.sin(at), 0, 0)) is None


def test_landmarks_on_a_line_are_passed_over() -> None:
    parallax = Parallax()
    for at in range(60):
        parallax.add(np.array([(20.0 * i, 100) for i in (0, 4, 2, 1, 3)], np.float32), float(at))
    assert parallax.flat is None


def _held_up(at: float) -> Image:
    """A grey wall and a portrait that somebody tilts, turns and moves to and fro."""
    turn = np.eye(3)
    sway = (0.15 * np.sin(1.3 * at), 0.3 * np.sin(2 * at), 0.08 * np.sin(at))
    for axis, angle in enumerate(sway):
        turn = turn @ cv2.Rodrigues(np.eye(3)[axis] * angle)[0]
    corners = np.array([(0, 0), (190, 0), (190, 190), (0, 190)], np.float32)
    placed = np.column_stack([corners - 95, np.zeros(4)]) @ turn.T
    depth = 900 + placed[:, 2:] + 100 * np.sin(0.8 * at)
    seen = 900 * placed[:, :2] / depth + (160 + 20 * np.sin(at), 120)
    matrix = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    wall = np.full((240, 320, 3), 110, np.uint8)
    face = np.ascontiguousarray(portrait()[30:220, 130:320])
    cv2.warpPerspective(face, matrix, (320, 240), wall, borderMode=cv2.BORDER_TRANSPARENT)
    noise = np.random.default_rng(round(at * 100)).normal(0, 3, wall.shape)
    return np.clip(wall + noise, 0, 255).astype(np.uint8)


def test_a_portrait_is_flat_in_the_detectors_landmarks() -> None:
    settings = Settings()
    parallax = Parallax()
    with closing(open_detector(settings.detector, settings.runtime.serving())) as detector:
        for at in np.arange(0, 4.6, 0.2):
            (faces,) = detector.detect_batch([_held_up(float(at))])
            parallax.add(faces.landmarks[0], float(at))
    assert parallax.flat is True
