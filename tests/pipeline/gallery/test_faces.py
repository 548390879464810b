"""Which face of a photo is enrolled."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.gallery.faces import PhotoContent, choose, expand_photos, main_face
from hypothesis import given
from hypothesis import strategies as st

from tests.pixels import PixelReader, paint


def faces(*found: tuple[float, float]) -> Faces:
    """Faces given as (side, score)."""
    boxes = [[50 * i, 0, 50 * i + side, side] for i, (side, _) in enumerate(found)]
    return Faces(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array([score for _, score in found], np.float32),
        landmarks=np.zeros((len(found), 5, 2), np.float32),
    )


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ([], "no_face"),
        ([(200, 0.85)], "no_face"),
        ([(100, 0.99)], 0),
        ([(39, 0.99)], "too_small"),
        ([(100, 0.99), (99, 0.95)], "several_faces"),
        ([(100, 0.99), (34, 0.99)], "several_faces"),
        ([(100, 0.99), (33, 1.0)], 0),  # in the background
        ([(33, 1.0), (100, 0.99)], 1),
        ([(100, 0.99), (80, 0.75)], 0),  # a pattern
        ([(100, 0.99), (120, 0.75)], "several_faces"),  # too large to be waved away
    ],
)
def test_the_rule(found: list[tuple[float, float]], outcome: int | str) -> None:
    if isinstance(outcome, int):
        assert choose(faces(*found)) == outcome
        return
    with pytest.raises(ImageError) as caught:
        choose(faces(*found))
    assert caught.value.reason == outcome


@given(st.lists(st.tuples(st.floats(1, 500), st.floats(0, 1)), max_size=5))
def test_the_chosen_face_is_certain_large_and_the_largest(found: list[tuple[float, float]]) -> None:
    try:
        best = choose(faces(*found))
    except ImageError:
        return
    side, score = found[best]
    assert score >= 0.899
    assert side >= 39.9
    assert all(other <= side * 1.001 for other, _ in found)


class LargeReader(PixelReader):
    """Finds a face of a given width in the middle of any picture, and notes the sizes asked."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width  # as a share of the picture
        self.asked: list[tuple[int, int]] = []

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        height, width = image.shape[:2]
        self.asked.append((width, height))
        side = self.width * width
        if side < 20:
            return Faces.empty()
        box = np.array([[0.5 * width, 0.25 * height, 0.5 * width + side, 0.25 * height + side]])
        return Faces(
            boxes=box.astype(np.float32),
            scores=np.ones(1, np.float32),
            landmarks=np.tile(box[:, None, :2], (1, 5, 1)).astype(np.float32),
        )

    def align(self, image: Image, landmarks: Floats) -> Image:
        assert image.shape[1] == 3000
        return np.zeros((len(landmarks), 112, 112, 3), np.uint8)


@pytest.mark.parametrize(("share", "searches"), [(0.2, 1), (0.02, 2), (0.01, 2)])
def test_large_photos_are_searched_small_first(share: float, searches: int) -> None:
    reader = LargeReader(share)
    picture = PhotoContent.load(np.zeros((2001, 3000, 3), np.uint8), name=Path("large"))
    if share * 3000 < 40:
        with pytest.raises(ImageError) as caught:
            main_face(picture, reader)
        assert caught.value.reason == "too_small"
    else:
        face = main_face(picture, reader)
        assert face.box[0] == pytest.approx(1500, abs=2)
        assert face.box[1] == pytest.approx(500, abs=2)
        assert face.box[2] - face.box[0] == pytest.approx(share * 3000, abs=1)
        assert face.landmarks[0] == pytest.approx(face.box[:2])
    assert len(reader.asked) == searches


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="it is a named pipe or a device"):
        PhotoContent.load(tmp_path / "pipe.jpg", name=tmp_path / "pipe.jpg")


def test_folders_are_expanded(tmp_path: Path) -> None:
    one, two = paint(tmp_path / "in" / "b.png"), paint(tmp_path / "in" / "A.PNG")
    (tmp_path / "in" / "notes.txt").write_text("x")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    missing = tmp_path / "gone.jpg"
    files, notes = expand_photos([missing, tmp_path / "in", tmp_path / "empty"])
    assert files == [missing, two, one]
    assert len(notes) == 2
    assert "1 hidden" in notes[0]
    assert "empty" in notes[1]
