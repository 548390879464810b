"""The detector of ``docs/extending.md``, as it stands there, on the portraits that ship."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import FaceAnalyzer, Pipeline, Settings
from facestream.pipeline.core.errors import ConfigError
from facestream.pipeline.detection import Detector, open_detector
from facestream.pipeline.detection.portraits import portraits

SECTION = "## Another detector"
DOCUMENT = Path(__file__).parents[3] / "docs" / "extending.md"


def blocks(language: str) -> list[str]:
    """The section's blocks of code in a language."""
    section = DOCUMENT.read_text(encoding="utf-8").split(f"{SECTION}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The document's settings, with its package as an installer lays it down."""
    (module,) = blocks("python")
    registration, chosen = (tomllib.loads(block) for block in blocks("toml"))
    ((group, points),) = registration["project"]["entry-points"].items()
    site = tmp_path / "site"
    facts = site / "yunet_detector-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "yunet_detector.py").write_text(module, encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: yunet-detector\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    yield Settings().with_values(chosen)
    sys.modules.pop("yunet_detector", None)


@pytest.fixture
def weights(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "models" / "face_detection_yunet_2023mar.onnx"
    monkeypatch.setenv("YUNET_WEIGHTS", str(path))


@pytest.fixture
def detector(settings: Settings, weights: None) -> Iterator[Detector]:
    found = open_detector(settings.detector, settings.runtime.serving())
    yield found
    found.close()


def test_its_landmarks_are_those_of_mtcnn(detector: Detector) -> None:
    """Left to right in the picture; a swap of eyes or mouth corners is 30 pixels."""
    for portrait in portraits():
        (faces,) = detector.detect_batch([portrait.image])
        assert len(faces) == 1
        assert np.abs(faces.landmarks - portrait.landmarks).max() < 8
        x1, y1, x2, y2 = faces.boxes[0]
        inside = (faces.landmarks[0] > (x1, y1)) & (faces.landmarks[0] < (x2, y2))
        assert inside.all()


def test_the_smallest_face_is_of_each_picture(detector: Detector) -> None:
    first, second = (portrait.image for portrait in portraits())
    small = np.zeros((8, 8, 3), np.uint8)
    found = detector.detect_batch([first, second, small], min_face=[200, None, None])
    assert [len(faces) for faces in found] == [0, 1, 0]


def test_threads_with_pictures_of_different_sizes_do_not_disturb_each_other(
    detector: Detector,
) -> None:
    image = portraits()[0].image
    images = [np.asarray(cv2.resize(image, (side, side)), np.uint8) for side in (160, 320, 480)] * 4
    alone = [detector.detect_batch([image])[0] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: detector.detect_batch([image])[0], images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.usefixtures("weights")
def test_the_analyzer_embeds_what_it_finds(settings: Settings) -> None:
    """The crops of both detectors show the same person to the encoder."""
    image = portraits()[0].image
    with FaceAnalyzer(settings) as ours, FaceAnalyzer() as reference:
        (face,), (expected,) = ours.analyze(image), reference.analyze(image)
        assert ours.detector.backend == "opencv"
    assert float(face.embedding @ expected.embedding) > 0.8


@pytest.mark.usefixtures("weights")
def test_a_pipeline_runs_with_it(settings: Settings, tmp_path: Path) -> None:
    for number, portrait in enumerate(portraits()):
        cv2.imwrite(str(tmp_path / f"{number}.png"), portrait.image)
    with Pipeline(sorted(tmp_path.glob("*.png")), settings=settings) as pipeline:
        results = list(pipeline)
        report = pipeline.report()
    assert [len(result.faces) for result in results] == [1, 1]
    assert report.backends["detector"] == "opencv"
    assert not report.problems


def test_missing_weights_are_one_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNET_WEIGHTS", "nowhere.onnx")
    with (
        FaceAnalyzer(settings) as analyzer,
        pytest.raises(ConfigError, match=r"^YUNET_WEIGHTS='nowhere.onnx' must name"),
    ):
        analyzer.load()
