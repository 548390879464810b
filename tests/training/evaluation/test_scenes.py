"""Rendered scenes: the truth is where the faces are, and a seed makes the same scene again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.training.errors import DataError
from facestream.training.evaluation.scene_cast import HEAD_SIDE, Actor, draw_cast
from facestream.training.evaluation.scene_paths import SceneRules, draw_passages
from facestream.training.evaluation.scene_truth import Truth, read_stamp, stamp
from facestream.training.evaluation.scenes import render_scene, truth_of
from hypothesis import given
from hypothesis import strategies as st

SHORT = SceneRules(
    seconds=3.0,
    fps=10,
    width=480,
    height=270,
    at_once=1,
    face=(60.0, 80.0),
    passage=(1.5, 2.0),
    fade=0.1,
)


def blank_actors(count: int = 8, *, level: int = 235) -> list[Actor]:
    """People without faces: plain bright heads."""
    heads = np.full((3, HEAD_SIDE, HEAD_SIDE, 3), level, np.uint8)
    return [Actor(f"person {n}", n % 2 == 0, heads) for n in range(count)]


def decoded(file: Path) -> list[Image]:
    with av.open(str(file)) as container:
        return [
            np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            for frame in container.decode(video=0)
        ]


def test_the_same_seed_makes_the_same_scene(tmp_path: Path) -> None:
    truths = [
        render_scene(tmp_path / f"{n}.mp4", blank_actors(), np.random.default_rng(s), rules=SHORT)
        for n, s in enumerate((5, 5, 6))
    ]
    first, again, other = (decoded(tmp_path / f"{n}.mp4") for n in range(3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(truths[0].boxes, truths[1].boxes)
    assert len(first) == truths[0].frames == 30
    assert [read_stamp(image) for image in first] == list(range(30))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.mp4", "1.mp4", "2.mp4"]


def test_truth_survives_the_file(tmp_path: Path) -> None:
    truth = truth_of(draw_passages(blank_actors(), np.random.default_rng(1), rules=SHORT), SHORT)
    truth.save(tmp_path / "truth.json")
    again = Truth.load(tmp_path / "truth.json")
    assert again.names == truth.names
    assert np.array_equal(again.frame, truth.frame)
    assert np.allclose(again.boxes, truth.boxes, atol=0.06)
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        with pytest.raises(DataError, match="render it"):
            Truth.load(tmp_path / name)


@pytest.mark.parametrize("seed", range(5))
def test_scenes_begin_and_end_empty_and_nobody_is_there_twice(seed: int) -> None:
    rules = SceneRules(at_once=3)
    passages = draw_passages(blank_actors(), np.random.default_rng(seed), rules=rules)
    truth = truth_of(passages, rules)
    assert truth.frame.min() > 0
    assert truth.frame.max() < truth.frames - 1
    most = 0
    for frame in range(truth.frames):
        names = [truth.names[p] for p in truth.passage[truth.rows(frame)]]
        assert len(names) == len(set(names))
        most = max(most, len(names))
    assert 2 <= most <= 3
    assert all(truth.in_full_view(p) is not None for p in range(len(truth.names)))


def test_the_nearer_one_hides_the_other() -> None:
    rules = replace(SHORT, at_once=2, seconds=6.0, width=200, height=180)
    hidden = 0
    for seed in range(8):
        passages = draw_passages(blank_actors(), np.random.default_rng(seed), rules=rules)
        truth = truth_of(passages, rules)
        for frame in range(truth.frames):
            rows = truth.rows(frame)
            boxes = truth.boxes[rows]
            if len(boxes) == 2 and iou_matrix(boxes[:1], boxes[1:])[0, 0] > 0.2:
                heights = boxes[:, 3] - boxes[:, 1]
                assert truth.visible[rows][int(np.argmin(heights))] < 1
                hidden += 1
    assert hidden


def test_too_few_actors_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 2 actors"):
        render_scene(tmp_path / "x.mp4", blank_actors(1), rng, rules=SHORT)
    assert not list(tmp_path.iterdir())


def test_faces_larger_than_the_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="224 px"):
        draw_passages(
            blank_actors(), np.random.default_rng(0), rules=SceneRules(width=320, height=180)
        )


@given(st.integers(0, 4095))
def test_stamps_are_read_after_compression(number: int) -> None:
    image = np.random.default_rng(number).integers(0, 256, (64, 240, 3), np.uint8)
    stamp(image, number)
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert read_stamp(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)) == number


def test_no_stamp_is_none() -> None:
    assert read_stamp(np.full((40, 300, 3), 128, np.uint8)) is None
    assert read_stamp(np.zeros((5, 5, 3), np.uint8)) is None
    with pytest.raises(ValueError, match="4095"):
        stamp(np.zeros((40, 300, 3), np.uint8), 4096)


@pytest.mark.shared_data
def test_the_detector_finds_real_heads_where_the_truth_says(
    shared_data: Path, tmp_path: Path
) -> None:
    cast = draw_cast(shared_data / "lfw", shown=4, absent=2, seed=3)
    assert [actor.enrolled for actor in cast.actors] == [True, False, True, False]
    assert [name for name, _ in cast.gallery] == [
        "person 00",
        "person 02",
        "absent 000",
        "absent 001",
    ]
    rules = SceneRules(seconds=7.0, at_once=1)
    rng = np.random.default_rng(3)
    truth = render_scene(tmp_path / "scene.mp4", cast.actors, rng, rules=rules)
    found = wanted = 0
    with Mtcnn(min_face=40) as detector:
        for number, image in enumerate(decoded(tmp_path / "scene.mp4")):
            rows = truth.rows(number)
            if number % 10 == 0 and (truth.visible[rows] > 0.95).any():
                boxes = detector.detect(image).boxes
                wanted += 1
                found += len(boxes) > 0 and bool(iou_matrix(truth.boxes[rows], boxes).max() > 0.5)
    assert wanted >= 5
    assert found >= 0.9 * wanted
