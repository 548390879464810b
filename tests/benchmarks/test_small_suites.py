"""The suites without a detector on whole pictures: trackers, decisions, whole videos, scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.suite import Case, Options
from benchmarks.suites import SUITES, suite_named
from benchmarks.suites.track import accuracy
from tests.benchmarks.examples import row
from tests.benchmarks.test_scheduler import measure
from tests.faces import face_clip


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_names_its_contenders(name: str, tmp_path: Path) -> None:
    suite = suite_named(name)
    assert suite.name == name
    names, missing = suite.contenders(Options(tmp_path, peers=False))
    assert names
    assert len(set(names)) == len(names)
    assert not set(names) & {item.name for item in missing}


def test_a_tracker_is_scored_by_idf1_and_switches() -> None:
    truth = [np.array([1, 2]), np.array([1, 2]), np.array([1, -1])]
    given = [np.array([7, 8]), np.array([7, 9]), np.array([7, 9])]
    scores = accuracy(truth, given)
    assert scores["switches"] == 1
    assert scores["idf1"] == pytest.approx(2 * 4 / (5 + 6))
    assert accuracy(truth[:2], truth[:2])["idf1"] == 1.0


def test_our_tracker_keeps_simulated_people_apart() -> None:
    suite = suite_named("track")
    prepared = suite.prepare("facestream", Case({"detect_every": 4}, "frames/s", {"scenes": 2}))
    assert prepared is not None
    frames, seconds = prepared.step()  # type: ignore[misc]
    assert (frames, seconds > 0) == (250, True)
    assert prepared.answer()["idf1"] > 0.7


def test_decisions_are_timed_without_the_encoder() -> None:
    suite = suite_named("recognise")
    prepared = suite.prepare("facestream", Case({"faces": 2, "detect_every": 4}, "frames/s"))
    assert prepared is not None
    frames, seconds = prepared.step()  # type: ignore[misc]
    assert frames == 400
    assert 0 < prepared.answer()["p95_ms"] / 1000 < seconds


@pytest.mark.peer
def test_all_contenders_find_the_same_faces_in_a_video(tmp_path: Path, shared_data: Path) -> None:
    clip = face_clip(tmp_path / "walk.mp4", frames=12)
    results = measure(
        "e2e", tmp_path, rounds=1, videos=(clip,), max_frames=3, zoo=shared_data / "models"
    )
    faces = {row.contender: row.checks["faces_per_frame"] for row in results.rows}
    names = ("facestream", "facestream-every", "yunet+sface", "facenet-pytorch")
    assert faces == dict.fromkeys(names, 1.0)
    assert [row.checks.get("embedded") for row in results.rows][:2] == [1, 3]


def test_what_grows_is_compared_with_its_own_least() -> None:
    """The encoder at 8 faces is in two series: over threads, and over batches."""
    rows = [
        row("scale", rounds=(100.0,), part="encoder", batch=8, threads=1),
        row("scale", rounds=(150.0,), part="encoder", batch=8, threads=2),
        row("scale", rounds=(140.0,), part="encoder", batch=8),
        row("scale", rounds=(70.0,), part="encoder", batch=1),
    ]
    finished = suite_named("scale").finish(rows)
    assert [row.checks["times"] for row in finished] == [1.0, 1.5, 2.0, 1.0]
    assert finished[1].checks["efficiency"] == 0.75
