"""Open-set figures against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.training.evaluation.tpir import (
    NO_SCORE,
    Outcomes,
    bootstrap,
    curve,
    outcomes,
    rank_one,
    tpir,
)
from hypothesis import given
from hypothesis import strategies as st


def drawn(seed: int, *, mated: int = 40, strangers: int = 50, people: int = 9) -> Outcomes:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([rng.integers(0, people, mated), np.full(strangers, -1)])
    scores = rng.normal(size=(len(truth), people))
    scores[np.arange(mated), truth[:mated]] += 2
    return outcomes(scores, truth)


def test_best_matches() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.5], [np.nan, np.nan]])
    found = outcomes(scores, np.array([0, 0, -1, 1]))
    assert found.score.tolist() == [0.9, 0.3, 0.5, NO_SCORE]
    assert found.right.tolist() == [True, False, False, False]
    assert found.mated.tolist() == [True, True, False, True]
    assert rank_one(found) == pytest.approx(1 / 3)


@given(st.integers(0, 10_000), st.floats(0.02, 0.9))
def test_no_more_strangers_are_named_than_allowed(seed: int, fpir: float) -> None:
    found = drawn(seed)
    value, threshold = tpir(found, fpir)
    named = found.score > threshold
    assert named[~found.mated].mean() <= fpir + 1e-9
    assert value == pytest.approx((named & found.right)[found.mated].mean())
    assert value <= rank_one(found)


@given(st.integers(0, 10_000))
def test_the_curve_rises(seed: int) -> None:
    values = curve(drawn(seed), [0.02, 0.1, 0.3, 0.8])
    assert values == sorted(values)


def test_a_tie_with_a_stranger_counts_against_us() -> None:
    found = Outcomes(
        score=np.array([0.5, 0.9, 0.5, 0.5, 0.1]),
        right=np.array([True, True, False, False, False]),
        mated=np.array([True, True, False, False, False]),
    )
    assert tpir(found, 0.34)[0] == 0.5


def test_strangers_without_a_face_are_never_named() -> None:
    scores = np.full((10, 3), np.nan)
    scores[0] = [0.1, 0.8, 0.2]
    found = outcomes(scores, np.array([1] + [-1] * 9))
    assert tpir(found, 0.2)[0] == 1


def test_intervals_hold_the_figure_and_differences_are_paired() -> None:
    found, people = drawn(3), np.arange(90)
    worse = Outcomes(
        np.where(found.right, found.score - 0.5, found.score), found.right, found.mated
    )
    made = bootstrap([found, worse, found], people, fpir=0.1, draws=200)
    value = tpir(found, 0.1)[0]
    interval = made.interval(value, 0)
    assert interval.low <= value <= interval.high
    assert interval.low < interval.high
    same = made.difference(0.0, 2, 0)
    assert same.low == same.high == 0
    assert made.difference(0.0, 1, 0).high <= 0
    ranks = made.rank_interval(rank_one(found), 0)
    assert ranks.low <= rank_one(found) <= ranks.high


def test_clips_of_a_person_stay_together() -> None:
    """One person with all the mated clips: every resample has them all, the rate cannot vary."""
    found = drawn(4, strangers=200)
    people = np.concatenate([np.zeros(40, np.int64), np.arange(1, 201)])
    ranks = bootstrap([found], people, fpir=0.5, draws=20).rank_one
    assert np.ptp(ranks) == pytest.approx(0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot tell"):
        tpir(drawn(0), 0.001)
    with pytest.raises(ValueError, match="N×G"):
        outcomes(np.zeros((2, 0)), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="no probe"):
        tpir(drawn(0, mated=0), 0.1)
