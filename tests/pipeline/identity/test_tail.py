"""The generalised Pareto tail, against distributions whose tail is known."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.identity.tail import LEAST, REJECTED, Tail, check_tail, fit_tail
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_it_finds_a_known_tail(shape: float) -> None:
    scores = stats.genpareto.rvs(shape, scale=0.1, size=20_000, random_state=1)
    tail = fit_tail(scores, 0.1)
    assert tail.shape == pytest.approx(shape, abs=0.08)
    true = float(stats.genpareto.isf(1e-3, shape, scale=0.1))
    assert tail.score(1e-3) == pytest.approx(true, rel=0.1)
    assert check_tail(scores, tail) >= REJECTED


def test_beyond_the_scores_it_is_nearer_than_a_gaussian() -> None:
    """A tail heavier than the Gaussian that fits the middle: Student's t with 5 degrees."""
    scores = stats.t.rvs(5, size=5_000, random_state=2)
    true = float(stats.t.isf(1e-4, 5))
    gaussian = float(stats.norm.isf(1e-4, scores.mean(), scores.std()))
    assert abs(fit_tail(scores).score(1e-4) - true) < abs(gaussian - true) / 2


def test_two_kinds_of_scores_are_no_pareto_tail() -> None:
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.exponential(0.05, 4000), rng.normal(2, 0.05, 300)])
    assert check_tail(scores, fit_tail(scores, 0.2)) < REJECTED


def test_few_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_tail(np.linspace(0, 1, LEAST))


@settings(max_examples=25)
@example(shape=-2.2e-311, scale=1.0, share=0.5, rates=[0.1, 0.2])
@given(
    shape=st.floats(-0.9, 0.9),
    scale=st.floats(1e-3, 1.0),
    share=st.floats(0.01, 0.5),
    rates=st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=6),
)
def test_rarer_is_more_similar(
    shape: float, scale: float, share: float, rates: list[float]
) -> None:
    tail = Tail(0.3, share, shape, scale, 100)
    scores = [tail.score(rate) for rate in sorted(rates, reverse=True)]
    assert scores == sorted(scores)
    for rate, score in zip(sorted(rates, reverse=True), scores, strict=True):
        assert tail.rate(score) == pytest.approx(min(rate, share), rel=1e-3)


@settings(max_examples=25)
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=8), seed=st.integers(0, 100))
def test_any_scores_have_a_finite_tail(values: list[float], seed: int) -> None:
    """Also scores that are all alike, or of a few values."""
    scores = np.random.default_rng(seed).choice(values, 5 * LEAST)
    tail = fit_tail(scores, 0.2)
    assert np.isfinite([tail.start, tail.shape, tail.scale]).all()
    assert tail.scale > 0
    assert tail.score(1e-3) >= tail.start
