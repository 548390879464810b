"""Mutual likelihood against its formula, and its matrix against itself."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from facestream.pipeline.recognition.uncertainty import (
    direction,
    mutual_likelihood,
    mutual_likelihood_matrix,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

seeds = st.integers(0, 10_000)


def draw(seed: int, count: int, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dim)), rng.normal(size=(count, dim))


@given(seeds)
def test_it_is_the_log_density_of_the_difference(seed: int) -> None:
    """PFE's eq. 3 integrates p(z|i)·p(z|j): a normal density of μi − μj at zero."""
    (a, va), (b, vb) = draw(seed, 4), draw(seed + 1, 4)
    constant = -0.5 * a.shape[1] * np.log(2 * np.pi)
    expected = [
        multivariate_normal.logpdf(a[i], b[i], np.diag(np.exp(va[i]) + np.exp(vb[i])))
        for i in range(4)
    ]
    assert mutual_likelihood(a, va, b, vb) + constant == pytest.approx(expected, rel=1e-6)


@given(seeds)
def test_it_is_symmetric(seed: int) -> None:
    a, b = draw(seed, 3), draw(seed + 1, 5)
    there, back = mutual_likelihood_matrix(*a, *b), mutual_likelihood_matrix(*b, *a)
    assert there == pytest.approx(back.T)


@given(seeds, st.floats(-3, 3))
def test_equal_variances_make_it_a_scaled_distance(seed: int, logvar: float) -> None:
    (a, _), (b, _) = draw(seed, 6), draw(seed + 1, 6)
    flat = np.full(a.shape, logvar)
    total = 2 * np.exp(logvar)
    distance = ((a - b) ** 2).sum(axis=1)
    expected = -0.5 * (distance / total + a.shape[1] * np.log(total))
    assert mutual_likelihood(a, flat, b, flat) == pytest.approx(expected)


@given(seeds)
def test_equal_variances_order_directions_as_the_cosine_does(seed: int) -> None:
    (a, _), (b, _) = draw(seed, 1), draw(seed + 1, 7)
    x, y = direction(a), direction(b)
    scores = mutual_likelihood_matrix(x, np.zeros_like(x), y, np.zeros_like(y))[0]
    assert np.argsort(scores).tolist() == np.argsort((x @ y.T)[0]).tolist()


def test_doubt_brings_a_match_down_and_a_mismatch_up() -> None:
    mu = direction(np.eye(2, 16))
    sure, unsure = np.full((1, 16), -2.0), np.full((1, 16), 0.5)
    same = [mutual_likelihood(mu[:1], v, mu[:1], sure)[0] for v in (sure, unsure)]
    other = [mutual_likelihood(mu[:1], v, mu[1:], sure)[0] for v in (sure, unsure)]
    assert same[0] > same[1] > other[1] > other[0]


@given(seeds, st.integers(0, 5), st.integers(0, 5))
def test_the_matrix_is_made_of_the_pairs(seed: int, n: int, m: int) -> None:
    a, b = draw(seed, n), draw(seed + 1, m)
    table = mutual_likelihood_matrix(*a, *b)
    assert table.shape == (n, m)
    for i in range(n):
        left = [np.repeat(side[i : i + 1], m, axis=0) for side in a]
        assert table[i] == pytest.approx(mutual_likelihood(left[0], left[1], *b))


def test_the_matrix_never_holds_n_by_m_by_d() -> None:
    a, b = draw(0, 700, 64), draw(1, 700, 64)
    tracemalloc.start()
    mutual_likelihood_matrix(*a, *b)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * 700 * 700 * 64 * 8


def test_direction_has_the_length_of_the_latent_scale() -> None:
    mu = np.random.default_rng(0).normal(size=(5, 128)) * 7
    assert np.linalg.norm(direction(mu), axis=1) == pytest.approx(128**0.5, rel=1e-5)
    assert direction(np.zeros((2, 4))).tolist() == np.zeros((2, 4)).tolist()


def test_extreme_variances_stay_finite() -> None:
    mu = np.ones((1, 4))
    wild = np.array([[1e4, -1e4, 0.0, 0.0]])
    assert np.isfinite(mutual_likelihood(mu, wild, mu, wild)).all()


def test_bad_shapes_are_refused() -> None:
    a, b = draw(0, 2), draw(1, 3)
    with pytest.raises(ValueError, match="alike"):
        mutual_likelihood(*a, *b)
    with pytest.raises(ValueError, match="one D"):
        mutual_likelihood_matrix(*a, *draw(0, 2, 4))
    with pytest.raises(ValueError, match="N×D"):
        mutual_likelihood(a[0], a[1][:, :1], a[0], a[1])
