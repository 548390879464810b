"""Arithmetic of the live benchmark: the search for the most cameras, endless clips, JSON."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from facestream.training.evaluation.scene_cast import HEAD_SIDE, Actor
from facestream.training.evaluation.scene_paths import SceneRules
from facestream.training.evaluation.scene_truth import read_stamp
from facestream.training.evaluation.scenes import render_scene

from benchmarks import live
from benchmarks.live_cameras import most_cameras
from benchmarks.live_scenes import Scene, endless


@pytest.mark.parametrize("limit", range(13))
@pytest.mark.parametrize("start", [1, 4, 8, 12])
def test_the_search_finds_the_most_cameras(limit: int, start: int) -> None:
    tried: list[int] = []

    def works(count: int) -> bool:
        tried.append(count)
        return count <= limit

    assert live.bisect(works, start=start, most=12) == limit
    assert len(tried) == len(set(tried)) <= 7


def test_a_gap_ends_what_is_kept_up_with() -> None:
    rows = [{"cameras": k, "sustained": ok} for k, ok in ((4, True), (1, True), (8, False))]
    assert most_cameras(rows) == 4
    assert most_cameras([*rows, {"cameras": 12, "sustained": True}]) == 4
    assert most_cameras([]) == 0


def test_json_has_no_nan() -> None:
    found = live.finite({"a": [float("nan"), 1.23456789, 2], "b": {"c": float("inf"), "d": "x"}})
    assert found == {"a": [None, 1.2346, 2], "b": {"c": None, "d": "x"}}


def test_an_endless_clip_repeats_the_scene(tmp_path: Path) -> None:
    rules = SceneRules(
        seconds=2.0, fps=10, width=320, height=180, at_once=1, face=(50.0, 60.0), passage=(1.0, 1.2)
    )
    heads = np.full((3, HEAD_SIDE, HEAD_SIDE, 3), 200, np.uint8)
    actors = [Actor(f"person {n}", True, heads) for n in range(2)]
    scene = Scene(tmp_path / "scene.mp4", tmp_path / "scene.json", 1)
    rng = np.random.default_rng(1)
    render_scene(scene.clip, actors, rng, rules=rules).save(scene.truth_file)
    clip = endless(scene, seconds=5.0)
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
    pictures = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in frames]
    assert [read_stamp(picture) for picture in pictures] == [*range(20)] * 3
    times = np.array([frame.time for frame in frames], np.float64)
    assert np.allclose(np.diff(times), 0.1, atol=1e-3)
    assert endless(scene, seconds=5.0) == clip
