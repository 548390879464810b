"""Photos whose pixels lie on their side or upside down, without EXIF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import FaceAnalyzer, Gallery
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.images import DecodedPhoto
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.detection.turned import find_turned


def one_face(box: list[float], score: float) -> Faces:
    """A face with its landmarks on the corners and in the middle of the box."""
    left, top, right, bottom = box
    middle = [(left + right) / 2, (top + bottom) / 2]
    marks = [[left, top], [right, top], middle, [left, bottom], [right, bottom]]
    return Faces(
        boxes=np.array([box], np.float32),
        scores=np.array([score], np.float32),
        landmarks=np.array([marks], np.float32),
    )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_faces_come_back_in_the_pixels_of_the_photo(turns: int) -> None:
    """A painted face is where its pixels are, and so are its landmarks."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:15, 20:28] = 1  # the face
    image[10, 20] = 2
    image[14, 27] = 3

    def detect(picture: Image) -> Faces:
        if not np.array_equal(picture, np.rot90(image, turns)):
            return Faces.empty()
        rows, columns = np.nonzero(picture[:, :, 0])
        box = [columns.min(), rows.min(), columns.max(), rows.max()]
        return one_face([float(value) for value in box], 0.999)

    faces, degrees = find_turned(image, Faces.empty(), detect)
    assert degrees == 90 * turns
    assert faces.boxes[0].tolist() == [20, 10, 27, 14]
    corners = {(20, 10), (27, 10), (20, 14), (27, 14), (23.5, 12)}
    assert {(float(x), float(y)) for x, y in faces.landmarks[0]} == corners
    # The left eye is the corner that is at the top left of the turned picture.
    x, y = faces.landmarks[0, 0].astype(int)
    marked = np.zeros(image.shape[:2], bool)
    marked[y, x] = True
    rows, columns = np.nonzero(np.rot90(marked, turns))
    assert (rows[0], columns[0]) == tuple(np.argwhere(np.rot90(image, turns)[:, :, 0])[0])


def test_only_what_is_in_doubt_is_searched_again() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    asked: list[tuple[int, ...]] = []

    def detect(picture: Image) -> Faces:
        asked.append(picture.shape)
        return one_face([1, 2, 3, 4], 0.95)

    sure = one_face([5, 6, 7, 8], 0.999)
    assert find_turned(image, sure, detect) == (sure, 0)
    assert asked == []
    doubtful = one_face([5, 6, 7, 8], 0.96)
    assert find_turned(image, doubtful, detect) == (doubtful, 0)
    assert len(asked) == 3
    assert find_turned(image, one_face([5, 6, 7, 8], 0.94), detect)[1] == 90


@pytest.fixture(scope="module")
def analyzer() -> Iterator[FaceAnalyzer]:
    with FaceAnalyzer(Settings.model_validate({"runtime": {"threads": 1}})) as found:
        yield found


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_portrait_has_the_embedding_of_the_upright_one(
    analyzer: FaceAnalyzer, turns: int
) -> None:
    upright = [portrait.image for portrait in portraits()]
    pictures = [np.ascontiguousarray(np.rot90(image, turns)) for image in upright]
    for one, other in zip(
        analyzer.analyze_batch(upright), analyzer.analyze_batch(pictures), strict=True
    ):
        assert (one.turned, other.turned) == (0, (360 - 90 * turns) % 360)
        assert next(iter(one)).embedding @ next(iter(other)).embedding > 0.9


def test_boxes_are_in_pixels_of_the_file(analyzer: FaceAnalyzer) -> None:
    image = portraits()[0].image
    (plain,), (reduced,) = analyzer.analyze_batch([image, DecodedPhoto(image, scale=4)])
    assert reduced.box == pytest.approx(plain.box * 4)


def test_a_photo_that_is_cut_short_is_enrolled_with_a_warning(
    analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    done, content = cv2.imencode(".jpg", portraits()[0].image)
    assert done
    (tmp_path / "cut.jpg").write_bytes(content.tobytes()[:-2])
    with Gallery(tmp_path / "people.db", reader=analyzer) as gallery:
        (result,) = gallery.add("Eileen", tmp_path / "cut.jpg")
    assert result.accepted
    assert result.warnings == ("the file is cut short; what is there is used",)


def test_a_photo_upside_down_is_enrolled_with_a_warning(
    analyzer: FaceAnalyzer, tmp_path: Path, shared_cases: Path
) -> None:
    path = shared_cases / "05-rot180.jpg"
    with Gallery(tmp_path / "people.db", reader=analyzer) as gallery:
        (result,) = gallery.add("Eileen", path)
        assert result.accepted
        assert result.warnings == (
            "the photo lies turned: its face was found after a turn by 180° to the left",
        )
        mu = analyzer.embed(gallery.crop(gallery.photos("Eileen")[0])[None])[0]
        found = next(iter(analyzer.analyze(portraits()[0].image))).embedding
        assert found @ mu[0] / np.linalg.norm(mu[0]) > 0.9
