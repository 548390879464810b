"""Contenders in processes of their own: they take turns, fail alone, and are ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.bench.contestant import Contestant, ContestantFailed
from facestream.pipeline.bench.results import Results
from facestream.pipeline.bench.suite import Wanted
from facestream.pipeline.bench.suites import suite_named
from facestream.pipeline.bench.suites.detect import compare_boxes
from facestream.pipeline.bench.turns import take_turns

from tests.pipeline.bench.examples import MACHINE


class Silent:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.expected, self.steps = 0, 0

    def expect(self, steps: int) -> None:
        self.expected += steps

    def doing(self, text: str) -> None:
        self.steps += 1


def measure(suite: str, folder: Path, **given: Any) -> Results:
    results, watch = Results(dict(MACHINE)), Silent()
    wanted = Wanted(folder, seconds=0.02, quick=True, **given)
    take_turns(suite_named(suite), wanted, results, watch)
    assert watch.steps <= watch.expected
    return results


def test_the_detectors_find_what_the_exact_one_finds(tmp_path: Path) -> None:
    only = {"size": ("480p",), "faces": ("3",), "batch": ("8",)}
    results = measure("detect", tmp_path, rounds=2, peers=False, only=only)
    assert [row.contender for row in results.rows] == ["facestream fast", "facestream exact"]
    for row in results.rows:
        assert dict(row.case) == {"size": "480p", "min_face": 40, "faces": "3", "batch": 8}
        assert len(row.rounds) == 2
        assert min(row.rounds) > 0
        assert row.checks["recall"] == 1.0
        assert row.checks["found"] == 3.0
        assert row.memory_mb is not None
        assert row.memory_mb > 50
        assert row.slower is not None
    assert ["resident" in item.name for item in results.missing] == [True]


def test_search_states_its_recall_and_what_was_left_out(tmp_path: Path) -> None:
    only = {"templates": ("1000",), "batch": ("32",)}
    results = measure("search", tmp_path, rounds=1, only=only)
    recalls = {row.contender: row.checks["recall_known"] for row in results.rows}
    assert recalls["facestream flat"] == 1.0
    assert recalls["numpy matmul + argpartition"] == 1.0
    told = [str(item) for item in results.missing]
    assert any("ivfpq, 1,000 templates is left out: begins at 10,000" in line for line in told)


def test_embeddings_are_compared_with_the_reference(tmp_path: Path) -> None:
    results = measure(
        "embed",
        tmp_path,
        rounds=1,
        only={"batch": ("8",)},
        contenders=("openvino bfloat16", "onnxruntime"),
    )
    for row in results.rows:
        assert row.checks["finite"] is True
        assert float(str(row.checks["cosine_least"])) > 0.999


def test_a_contender_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    (zoo / "face_detection_yunet_2023mar.onnx").write_bytes(b"nothing")
    results = measure(
        "detect",
        tmp_path,
        rounds=1,
        zoo=zoo,
        only={"size": ("480p",), "faces": ("0",), "batch": ("1",)},
        contenders=("facestream exact", "yunet"),
    )
    assert [row.contender for row in results.rows] == ["facestream exact"]
    assert any(item.name == "yunet" and item.reason for item in results.missing)


def test_an_error_comes_back_and_the_process_lives_on() -> None:
    contestant = Contestant()
    try:
        for _ in range(2):
            with pytest.raises(ContestantFailed, match="ValueError: nothing was prepared"):
                contestant.ask({"do": "run", "seconds": 0.1})
    finally:
        contestant.close()


def test_a_process_that_dies_says_how() -> None:
    contestant = Contestant()
    try:
        with pytest.raises(ContestantFailed):
            contestant.ask({"do": "find"})
        os.kill(contestant._process.pid, signal.SIGKILL)
        with pytest.raises(ContestantFailed, match="signal 9"):
            contestant.ask({"do": "find"})
    finally:
        contestant.close()


def test_a_process_that_hangs_is_ended() -> None:
    contestant = Contestant(patience=0.05)
    try:
        with pytest.raises(ContestantFailed, match="no answer within"):
            contestant.ask({"do": "find"})  # Python has not even started
        assert contestant._process.wait(10) == -signal.SIGKILL
    finally:
        contestant.close()


def test_boxes_are_counted_as_found_missed_or_extra() -> None:
    import numpy as np

    true = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    own = np.array([[0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    checks = compare_boxes([true], [own])
    assert checks == {
        "found": 2.0,
        "recall": 0.5,
        "extra": 1,
        "iou_least": 0.9,
        "iou_median": 0.9,
    }
    nothing = np.zeros((0, 4), np.float32)
    assert compare_boxes([nothing], [own])["extra"] == 2
    assert compare_boxes([nothing], [own])["recall"] is None
    assert compare_boxes([true], [nothing])["recall"] == 0.0


def test_given_videos_are_searched_instead(tmp_path: Path) -> None:
    from tests.faces import face_clip

    clip = face_clip(tmp_path / "walk.mp4", frames=6)
    results = measure(
        "detect",
        tmp_path,
        rounds=1,
        videos=(clip,),
        only={"size": ("480p",), "batch": ("1",)},
        contenders=("facestream exact",),
    )
    (row,) = results.rows
    assert row.case["faces"] == "walk.mp4"
    assert row.checks["found"] == 1.0
