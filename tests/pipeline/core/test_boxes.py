"""Box arithmetic against plain loops and its invariants."""

from __future__ import annotations

import numpy as np
from facestream.pipeline.core.boxes import NmsMode, iou_matrix, move, nms, square
from facestream.pipeline.core.types import Floats
from hypothesis import given
from hypothesis import strategies as st

side = st.integers(0, 60)
box = st.tuples(side, side, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
boxes = st.lists(box, min_size=0, max_size=40).map(
    lambda rows: np.array(rows, np.float32).reshape(-1, 4)
)
modes = st.sampled_from(["union", "min"])


def overlap_of(a: Floats, b: Floats, mode: NmsMode) -> float:
    width = max(0.0, float(min(a[2], b[2]) - max(a[0], b[0])))
    height = max(0.0, float(min(a[3], b[3]) - max(a[1], b[1])))
    area_a, area_b = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    whole = area_a + area_b - width * height if mode == "union" else min(area_a, area_b)
    return float(np.float32(width * height) / np.float32(whole)) if whole > 0 else 0.0


def nms_by_loops(rows: Floats, scores: Floats, threshold: float, mode: NmsMode) -> list[int]:
    keep: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: (-scores[i], i)):
        if all(overlap_of(rows[index], rows[k], mode) <= np.float32(threshold) for k in keep):
            keep.append(index)
    return keep


@given(boxes, st.integers(0, 1000), st.sampled_from([0.3, 0.5, 0.7]), modes)
def test_nms_is_the_plain_algorithm(
    rows: Floats, seed: int, threshold: float, mode: NmsMode
) -> None:
    # Few values, so that equal scores are common.
    scores = np.random.default_rng(seed).integers(0, 6, len(rows)).astype(np.float32)
    kept = nms(rows, scores, threshold, mode).tolist()
    assert kept == nms_by_loops(rows, scores, threshold, mode)


@given(st.integers(0, 1000), modes)
def test_nms_of_many_is_the_same_as_of_few(seed: int, mode: NmsMode) -> None:
    """More boxes than one matrix is made for take another way."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 300, (450, 2))
    rows = np.concatenate([corner, corner + rng.integers(1, 80, (450, 2))], axis=1)
    scores = rng.random(450, np.float32)
    kept = nms(rows, scores, 0.5, mode)
    again = nms(rows[kept], scores[kept], 0.5, mode)
    assert again.tolist() == list(range(len(kept)))
    overlaps = np.array([[overlap_of(a, b, mode) for b in rows[kept]] for a in rows[:20]])
    assert ((overlaps > 0.5).any(axis=1) | np.isin(np.arange(20), kept)).all()


@given(boxes)
def test_iou_is_symmetric_and_one_with_itself(rows: Floats) -> None:
    iou = iou_matrix(rows, rows)
    assert ((iou >= 0) & (iou <= 1)).all()
    assert (iou == iou.T).all()
    areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
    assert (iou.diagonal() == (areas > 0)).all()


@given(boxes, boxes)
def test_iou_is_the_plain_formula(a: Floats, b: Floats) -> None:
    iou = iou_matrix(a, b)
    assert iou.shape == (len(a), len(b))
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            assert abs(iou[i, j] - overlap_of(one, other, "union")) < 1e-6


@given(boxes)
def test_square_keeps_the_centre_and_the_longer_side(rows: Floats) -> None:
    result = square(rows)
    sides = result[:, 2:] - result[:, :2]
    assert np.allclose(sides[:, 0], sides[:, 1])
    assert np.allclose(sides[:, 0], (rows[:, 2:] - rows[:, :2]).max(axis=1, initial=0))
    assert np.allclose(result[:, :2] + result[:, 2:], rows[:, :2] + rows[:, 2:], atol=1e-3)


def test_move_by_fractions_of_the_side() -> None:
    rows = np.array([[10, 20, 30, 60]], np.float32)
    offsets = np.array([[0.1, 0.5, -0.1, 0]], np.float32)
    assert move(rows, offsets, inclusive=0).tolist() == [[12, 40, 28, 60]]
    assert np.allclose(move(rows, offsets, inclusive=1), [[12.1, 40.5, 27.9, 60]])


def test_nothing_in_nothing_out() -> None:
    none = np.zeros((0, 4), np.float32)
    assert nms(none, np.zeros(0), 0.5).tolist() == []
    assert iou_matrix(none, np.zeros((3, 4))).shape == (0, 3)
    assert square(none).shape == (0, 4)
