"""The verification figures against naive ones, on made similarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.types import Faces
from facestream.training.data.cutter import choose_face
from facestream.training.errors import DataError
from facestream.training.evaluation.lfw import read_pairs
from facestream.training.evaluation.protocol import (
    best_threshold,
    fit_probability,
    fnmr_after_reject,
    fold_accuracy,
    tar_at_far,
    threshold_at_fmr,
    wilson,
)
from facestream.training.evaluation.verification import verify
from hypothesis import given
from hypothesis import strategies as st


def naive_best_accuracy(similarity: np.ndarray, genuine: np.ndarray) -> float:
    cuts = np.concatenate([similarity - 1e-9, similarity + 1e-9])
    return max(float(((similarity >= cut) == genuine).mean()) for cut in cuts)


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_best_threshold_is_the_best(pairs: list[tuple[int, bool]]) -> None:
    similarity = np.array([s / 10 for s, _ in pairs])
    genuine = np.array([g for _, g in pairs])
    accuracy = float(((similarity >= best_threshold(similarity, genuine)) == genuine).mean())
    assert accuracy == pytest.approx(naive_best_accuracy(similarity, genuine))


def made_pairs(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    genuine = np.tile([True, False], 300)
    similarity = rng.normal(np.where(genuine, 0.6, 0.1), 0.2)
    return similarity, genuine, np.repeat(np.arange(10), 60)


def test_fold_accuracy_against_a_naive_one() -> None:
    similarity, genuine, fold = made_pairs()
    result = fold_accuracy(similarity, genuine, fold)
    naive = []
    for number in range(10):
        best, at = -1.0, 0.0
        values = np.sort(similarity[fold != number])
        for cut in (values[1:] + values[:-1]) / 2:
            right = float(((similarity >= cut) == genuine)[fold != number].mean())
            if right > best:
                best, at = right, cut
        naive.append(((similarity >= at) == genuine)[fold == number].mean())
    np.testing.assert_allclose(result.folds, naive)
    assert result.mean.value == pytest.approx(np.mean(naive))
    half = 2.2621571628 * np.std(naive, ddof=1) / np.sqrt(10)  # Student's t, 9 degrees
    assert result.mean.high - result.mean.value == pytest.approx(half)


@given(st.integers(1, 20))
def test_threshold_accepts_exactly_its_share(count: int) -> None:
    impostor = np.random.default_rng(count).standard_normal(2000)
    threshold = threshold_at_fmr(impostor, count / 2000)
    assert (impostor >= threshold).sum() == count


def test_threshold_needs_enough_pairs() -> None:
    with pytest.raises(ValueError, match="100 impostor pairs cannot tell"):
        threshold_at_fmr(np.zeros(100), 1e-3)


def test_tar_and_its_interval() -> None:
    genuine, impostor = np.linspace(0, 1, 1001), np.linspace(-1, 0.5, 1501)
    tar = tar_at_far(genuine, impostor, 0.01)
    cut = np.sort(impostor)[-16:-14].mean()
    assert tar.value == pytest.approx((genuine >= cut).mean())
    p, n, z = tar.value, 1001, 1.959964
    centre = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert (tar.low, tar.high) == pytest.approx((centre - half, centre + half), abs=1e-5)
    assert np.isnan(wilson(0, 0).value)


def test_probability_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(0.6, 0.2, 40000), rng.normal(0.1, 0.2, 30000)
    slope, intercept = fit_probability(genuine, impostor)
    # Two normals of one width: the log odds are linear with slope (0.6 − 0.1) / 0.2².
    assert slope == pytest.approx(0.5 / 0.04, rel=0.05)
    assert -intercept / slope == pytest.approx(0.35, abs=0.01)


def test_probability_stays_finite_where_sides_do_not_overlap() -> None:
    slope, intercept = fit_probability(np.linspace(0.6, 0.9, 50), np.linspace(-0.2, 0.2, 50))
    assert 0 < slope < 1e4
    assert 0.2 < -intercept / slope < 0.6


def test_rejecting_the_uncertain() -> None:
    genuine = np.array([0.9] * 8 + [0.1] * 2)
    impostor = np.linspace(-1, 0.5, 2000)
    knows = np.array([0.0] * 8 + [1.0, 0.9])
    assert fnmr_after_reject(genuine, impostor, knows, fmr=1e-3, reject=0.1) == (0.2, 1 / 9)
    assert fnmr_after_reject(genuine, impostor, -knows, fmr=1e-3, reject=0.1) == (0.2, 2 / 9)


def write_pairs(path: Path, *, people: int = 100) -> None:
    lines = ["2\t50"]
    for fold in range(2):
        mine = range(fold * people // 2, (fold + 1) * people // 2)
        lines += [f"P{i}\t1\t2" for i in mine]
        lines += [f"P{i}\t1\tP{(i + 1) % people}\t2" for i in mine]
    path.write_text("\n".join(lines) + "\n")


def test_verify_on_made_embeddings(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.txt")
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert (len(pairs.names), int(pairs.genuine.sum()), len(pairs.left)) == (200, 100, 200)
    rng = np.random.default_rng(0)
    centres = {f"P{i}": rng.standard_normal(32) for i in range(100)}
    mu = np.stack([centres[n.split("/")[0]] + rng.normal(0, 0.3, 32) for n in pairs.names])
    result = verify(pairs, mu.astype(np.float32), not_found=3)
    assert result.accuracy.value == 1.0
    assert result.all_pairs == 200 * 199 // 2 - 100
    assert result.not_found == 3
    noise = verify(pairs, rng.standard_normal((200, 32)).astype(np.float32), not_found=0)
    assert 0.35 < noise.accuracy.value < 0.65
    half = pairs.folds(1)
    assert len(half.left) == 100
    assert [half.names[i] for i in half.left] == [pairs.names[i] for i in pairs.left[:100]]


def test_bad_pairs_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pairs are not at"):
        read_pairs(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("hello\n")
    with pytest.raises(DataError, match=r"is not LFW's pairs\.txt"):
        read_pairs(tmp_path / "pairs.txt")


def test_the_large_face_near_the_centre_is_chosen() -> None:
    boxes = np.array([[0, 0, 90, 90], [80, 80, 165, 165], [120, 120, 130, 130]], np.float32)
    faces = Faces(
        boxes=boxes, scores=np.ones(3, np.float32), landmarks=np.zeros((3, 5, 2), np.float32)
    )
    assert choose_face(faces, (250, 250, 3)) == [1]
    assert choose_face(faces.take([]), (250, 250, 3)) == []
