"""Rates, intervals and probabilities, against distributions whose truth is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from facestream.engines.cards import Calibration
from facestream.pipeline.identity.estimates import (
    bootstrap_people,
    calibration_error,
    fit_probability,
    probabilities,
    reliability,
    wilson,
)
from hypothesis import given, settings
from hypothesis import strategies as st

TRUE = Calibration(slope=20.0, intercept=-8.0)


def answers(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Similarities, and answers that are right with the true probability."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 0.8, count)
    return scores, rng.random(count) < probabilities(scores, TRUE)


def test_a_known_map_is_found() -> None:
    scores, right = answers(20_000)
    found = fit_probability(scores, right, np.ones(len(scores)))
    assert found.slope == pytest.approx(TRUE.slope, rel=0.05)
    assert found.intercept == pytest.approx(TRUE.intercept, rel=0.05)


def test_the_error_of_a_true_map_is_small_and_of_a_wrong_one_large() -> None:
    scores, right = answers(20_000, seed=1)
    weights = np.ones(len(scores))
    true = calibration_error(reliability(probabilities(scores, TRUE), right, weights))
    shifted = Calibration(slope=20.0, intercept=-5.0)
    wrong = calibration_error(reliability(probabilities(scores, shifted), right, weights))
    assert true < 0.02
    assert wrong > 0.08


def test_weights_count_as_so_many_answers() -> None:
    scores, right = answers(500)
    times = np.random.default_rng(2).integers(1, 4, len(scores))
    by_weight = fit_probability(scores, right, times)
    repeated = fit_probability(
        np.repeat(scores, times), np.repeat(right, times), np.ones(times.sum())
    )
    assert by_weight.slope == pytest.approx(repeated.slope, rel=1e-3)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(-1, 1), st.booleans()), min_size=2, max_size=12).filter(
        lambda rows: len({right for _, right in rows}) == 2
    )
)
def test_more_similar_is_never_less_probable(rows: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in rows])
    found = fit_probability(scores, np.array([right for _, right in rows]), np.ones(len(rows)))
    stated = probabilities(np.linspace(-1, 1, 21), found)
    assert (np.diff(stated) >= 0).all()
    assert ((stated >= 0) & (stated <= 1)).all()


def test_one_kind_of_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="right and wrong"):
        fit_probability(np.array([0.1, 0.2]), np.array([True, True]), np.ones(2))


def test_intervals_contain_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    hits = {"wilson": 0, "bootstrap": 0}
    for draw in range(60):
        people = np.repeat(np.arange(40), 3)
        # A person's three searches fail together: rows are not independent.
        missed = np.repeat(rng.random(40) < 0.2, 3)
        found = bootstrap_people(people, partial(_mean, missed), draws=100, seed=draw)
        hits["bootstrap"] += found.low <= 0.2 <= found.high
        share = wilson(rng.binomial(200, 0.02), 200)
        hits["wilson"] += share.low <= 0.02 <= share.high
    assert min(hits.values()) >= 50


def _mean(values: np.ndarray, rows: np.ndarray) -> float:
    return float(values[rows].mean())


@given(total=st.integers(1, 1000), share=st.floats(0, 1))
def test_a_share_lies_in_its_interval(total: int, share: float) -> None:
    count = round(share * total)
    found = wilson(count, total)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0)[1:] == (0.0, 1.0)
