"""Contenders in processes of their own: interleaved, a failure of one leaves the others."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.pipeline.cli.bench_results import Results

from benchmarks.contender import ContenderFailed, ContenderProcess
from benchmarks.run_suites import measure as measure_suites
from benchmarks.suite import Options
from benchmarks.suites.detect import compare_boxes
from tests.benchmarks.examples import MACHINE
from tests.faces import face_clip


def measure(suite: str, folder: Path, **given: Any) -> Results:
    results = Results(dict(MACHINE))
    options = Options(folder, seconds=0.02, quick=True, **given)
    measure_suites([suite], options, results, lambda text: None)
    assert results.complete
    return results


def test_the_detectors_find_what_the_exact_one_finds(tmp_path: Path) -> None:
    only = {"size": ("480p",), "faces": ("3",), "batch": ("8",)}
    results = measure("detect", tmp_path, rounds=2, peers=False, only=only)
    ours = ["facestream fast", "facestream exact", "facestream openvino"]
    assert [row.contender for row in results.rows] == ours
    for row in results.rows:
        assert dict(row.case) == {"size": "480p", "min_face": 40, "faces": "3", "batch": 8}
        assert len(row.rounds) == 2
        assert min(row.rounds) > 0
        assert row.checks["recall"] == 1.0
        assert row.checks["found"] == 3.0
        assert row.memory_mb is not None
        assert row.memory_mb > 50
        assert row.slower is not None
        assert row.cpu_seconds is not None
        assert row.cpu_seconds > 0
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
        contenders=("openvino float32", "onnxruntime"),
    )
    assert len(results.rows) == 3  # OpenVINO, ours on ONNX Runtime, ONNX Runtime alone
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
    contender = ContenderProcess()
    try:
        for _ in range(2):
            with pytest.raises(ContenderFailed, match="ValueError: nothing was prepared"):
                contender.ask({"do": "run", "seconds": 0.1})
    finally:
        contender.close()


def test_a_process_that_dies_says_how() -> None:
    contender = ContenderProcess()
    try:
        with pytest.raises(ContenderFailed):
            contender.ask({"do": "find"})
        os.kill(contender.pid, signal.SIGKILL)
        with pytest.raises(ContenderFailed, match="signal 9"):
            contender.ask({"do": "find"})
    finally:
        contender.close()


def test_a_process_that_hangs_is_ended() -> None:
    contender = ContenderProcess(timeout=0.05)
    os.kill(contender.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ContenderFailed, match="no answer within"):
            contender.ask({"do": "find"})
    finally:
        assert contender.close() == -signal.SIGKILL


def test_boxes_are_counted_as_found_missed_or_extra() -> None:
    true = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    own = np.array([[0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    checks = compare_boxes([true], [own])
    assert checks == {"found": 2.0, "recall": 0.5, "extra": 1, "iou_least": 0.9, "iou_median": 0.9}
    nothing = np.zeros((0, 4), np.float32)
    assert compare_boxes([nothing], [own])["extra"] == 2
    assert compare_boxes([nothing], [own])["recall"] is None
    assert compare_boxes([true], [nothing])["recall"] == 0.0


def test_given_videos_are_searched_instead(tmp_path: Path) -> None:
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
