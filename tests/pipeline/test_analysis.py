"""Pictures in, named faces out: the analyzer with the real networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.errors import ModelError
from facestream.engines.options import Serving
from facestream.pipeline import FaceAnalyzer, Gallery
from facestream.pipeline import analysis as module
from facestream.pipeline.core.config import DetectorSettings, Settings
from facestream.pipeline.core.errors import ConfigError, ImageError
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection import Detector, open_detector
from facestream.pipeline.detection.portraits import portraits

ASTRONAUT, HOPPER = 0, 1


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.model_validate({"runtime": {"threads": 1}})


@pytest.fixture(scope="module")
def analyzer(settings: Settings) -> Iterator[FaceAnalyzer]:
    with FaceAnalyzer(settings) as found:
        yield found


def both(*, gap: int = 40) -> Image:
    """Two portraits side by side: the second person on the left."""
    images = [portraits()[who].image for who in (HOPPER, ASTRONAUT)]
    wall = np.full((208, gap, 3), 120, np.uint8)
    return np.concatenate([images[0], wall, images[1]], axis=1)


def test_a_face_has_box_landmarks_embedding_and_sigma(analyzer: FaceAnalyzer) -> None:
    (face,) = analyzer.analyze(portraits()[ASTRONAUT].image)
    left, top, right, bottom = face.box
    inside = (face.landmarks > [left, top]) & (face.landmarks < [right, bottom])
    assert inside.all()
    assert face.score > 0.99
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
    assert 0.1 < face.sigma < 1
    assert face.identity.reason == "no_gallery"


def test_a_batch_gives_what_single_pictures_give(analyzer: FaceAnalyzer) -> None:
    pictures = [portraits()[HOPPER].image, np.zeros((64, 64, 3), np.uint8), both()]
    batch = analyzer.analyze_batch(pictures)
    assert [len(one) for one in batch] == [1, 0, 2]
    for picture, one in zip(pictures, batch, strict=True):
        alone = analyzer.analyze(picture)
        np.testing.assert_array_equal(alone.faces.boxes, one.faces.boxes)
        for a, b in zip(alone, one, strict=True):
            assert a.embedding @ b.embedding == pytest.approx(1, abs=1e-4)
            assert a.sigma == pytest.approx(b.sigma, abs=1e-3)


def test_the_largest_face_alone(analyzer: FaceAnalyzer) -> None:
    picture = both()
    picture[:, :208] = 120
    picture[50:154, 50:154] = portraits()[HOPPER].image[::2, ::2]
    everything = analyzer.analyze(picture)
    (only,) = analyzer.analyze_batch([picture], keep="largest")
    assert len(everything) == 2
    assert only.faces.boxes[0, 0] == max(everything.faces.boxes[:, 0])


def test_people_are_named_each_at_most_once(settings: Settings, tmp_path: Path) -> None:
    picture = portraits()[ASTRONAUT].image
    with Gallery(tmp_path / "people.db") as gallery:
        gallery.add("Eileen Collins", picture)
        with FaceAnalyzer(settings, gallery=gallery) as analyzer:
            twice = np.concatenate([picture, picture[:, ::-1]], axis=1)
            named, other = analyzer.analyze(both()).left_to_right(), analyzer.analyze(twice)
    assert [face.identity.name for face in named] == [None, "Eileen Collins"]
    assert sorted(str(face.identity.name or face.identity.reason) for face in other) == [
        "Eileen Collins",
        "taken",
    ]


def test_a_file_is_read_and_a_bad_one_is_refused(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        analyzer.analyze(bad)


def test_a_detector_that_does_not_exist_is_named() -> None:
    settings = Settings.model_validate({"detector": {"name": "retina"}})
    with FaceAnalyzer(settings) as analyzer, pytest.raises(ConfigError, match=r"'retina'.*mtcnn"):
        analyzer.load()


def test_a_network_whose_twin_fails_to_load_is_freed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    class Broken:
        def __init__(self, **_: object) -> None:
            raise ModelError("damaged")

    def watched(settings: DetectorSettings, serving: Serving) -> Detector:
        detector = open_detector(settings, serving)
        free = detector.close

        def close() -> None:
            closed.append(True)
            free()

        monkeypatch.setattr(detector, "close", close)
        return detector

    monkeypatch.setattr(module, "Encoder", Broken)
    monkeypatch.setattr(module, "open_detector", watched)
    with pytest.raises(ModelError, match="damaged"):
        FaceAnalyzer(settings).load()
    assert closed == [True]
