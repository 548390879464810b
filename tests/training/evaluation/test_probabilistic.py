"""Mutual likelihood and fusion against their formulas."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import numpy as np
import pytest
from facestream.pipeline.recognition.uncertainty import direction
from facestream.training.evaluation.probabilistic import fuse, mutual_likelihood_matrix
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
    assert mutual_likelihood_matrix(a, va, b, vb).diagonal() + constant == pytest.approx(
        expected, rel=1e-6
    )


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
    assert mutual_likelihood_matrix(a, flat, b, flat).diagonal() == pytest.approx(expected)


@given(seeds)
def test_equal_variances_order_directions_as_the_cosine_does(seed: int) -> None:
    (a, _), (b, _) = draw(seed, 1), draw(seed + 1, 7)
    x, y = direction(a), direction(b)
    scores = mutual_likelihood_matrix(x, np.zeros_like(x), y, np.zeros_like(y))[0]
    assert np.argsort(scores).tolist() == np.argsort((x @ y.T)[0]).tolist()


def test_uncertainty_brings_a_match_down_and_a_mismatch_up() -> None:
    mu = direction(np.eye(2, 16))
    sure, unsure = np.full((1, 16), -2.0), np.full((1, 16), 0.5)
    same = [mutual_likelihood_matrix(mu[:1], v, mu[:1], sure)[0, 0] for v in (sure, unsure)]
    other = [mutual_likelihood_matrix(mu[:1], v, mu[1:], sure)[0, 0] for v in (sure, unsure)]
    assert same[0] > same[1] > other[1] > other[0]


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (2, 5)])
def test_the_matrix_has_a_row_for_each_face(n: int, m: int) -> None:
    a, b = draw(0, n), draw(1, m)
    table = mutual_likelihood_matrix(*a, *b)
    assert table.shape == (n, m)
    for row, (mu, logvar) in enumerate(zip(*a, strict=True)):
        assert table[row] == pytest.approx(mutual_likelihood_matrix(mu[None], logvar[None], *b)[0])


def test_the_matrix_never_holds_n_by_m_by_d() -> None:
    a, b = draw(0, 700, 64), draw(1, 700, 64)
    tracemalloc.start()
    mutual_likelihood_matrix(*a, *b)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.25 * 700 * 700 * 64 * 8


def test_likelihoods_of_extreme_variances_stay_finite() -> None:
    mu = np.ones((1, 4))
    wild = np.array([[1e4, -1e4, 0.0, 0.0]])
    assert np.isfinite(mutual_likelihood_matrix(mu, wild, mu, wild)).all()


def test_likelihoods_of_other_shapes_are_refused() -> None:
    a = draw(1, 3)
    with pytest.raises(ValueError, match="one D"):
        mutual_likelihood_matrix(*a, *draw(0, 2, 4))
    with pytest.raises(ValueError, match="N×D"):
        mutual_likelihood_matrix(a[0], a[1][:, :1], a[0], a[1])


@given(seeds, st.integers(1, 6))
def test_fusing_is_precision_weighted(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    mu, variance = rng.normal(size=(count, 8)), rng.uniform(0.1, 4, (count, 8))
    fused, logvar = fuse(mu, np.log(variance))
    expected = (mu / variance).sum(0) / (1 / variance).sum(0)
    assert fused == pytest.approx(expected, abs=1e-5)
    assert np.exp(logvar) == pytest.approx(1 / (1 / variance).sum(0), rel=1e-4)
    assert (fused >= mu.min(0) - 1e-5).all()
    assert (fused <= mu.max(0) + 1e-5).all()


@given(seeds)
def test_order_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu, logvar = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    order = rng.permutation(5)
    for a, b in zip(fuse(mu, logvar), fuse(mu[order], logvar[order]), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_correlated_pictures_do_not_add_certainty_without_bound() -> None:
    mu, logvar = np.ones((1000, 4)), np.zeros((1000, 4))
    assert np.exp(fuse(mu, logvar)[1]) == pytest.approx(1e-3)
    assert np.exp(fuse(mu, logvar, correlation=0.25)[1]) == pytest.approx(0.25, rel=0.01)
    assert np.exp(fuse(mu, logvar, correlation=1)[1]) == pytest.approx(1)
    one = fuse(mu[:1], logvar[:1], correlation=0.7)
    assert np.exp(one[1]) == pytest.approx(1)


@given(seeds, st.floats(0, 8), st.sampled_from(["dimension", "face"]))
def test_a_power_weights_by_that_power(
    seed: int, power: float, per: Literal["dimension", "face"]
) -> None:
    rng = np.random.default_rng(seed)
    mu, logvar = rng.normal(size=(4, 8)), rng.normal(size=(4, 8))
    spread = logvar if per == "dimension" else logvar.mean(axis=1, keepdims=True)
    weight = np.exp(-spread) ** power * np.ones_like(mu)
    fused, variance = fuse(mu, logvar, power=power, per=per)
    assert fused == pytest.approx((weight * mu).sum(0) / weight.sum(0), abs=1e-4)
    expected = (weight**2 * np.exp(logvar)).sum(0) / weight.sum(0) ** 2
    assert np.exp(variance) == pytest.approx(expected, rel=1e-4)


def test_no_power_is_the_mean_and_a_high_one_the_surest() -> None:
    mu, logvar = np.array([[1.0], [2.0], [6.0]]), np.array([[0.5], [-0.5], [0.0]])
    assert fuse(mu, logvar, power=0)[0] == pytest.approx(3)
    assert fuse(mu, logvar, power=200)[0] == pytest.approx(2)


@given(seeds, st.floats(0, 6))
def test_the_variance_lies_between_independent_and_same(seed: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    mu, logvar = rng.normal(size=(4, 8)), rng.normal(size=(4, 8))
    alone, half, same = (
        fuse(mu, logvar, power=power, correlation=rho)[1] for rho in (0.0, 0.5, 1.0)
    )
    assert (alone <= half + 1e-5).all()
    assert (half <= same + 1e-5).all()
    assert (same <= logvar.max(axis=0) + 1e-5).all()


@pytest.mark.parametrize("power", [0.0, 1.0, 8.0])
def test_extreme_variances_stay_finite(power: float) -> None:
    fused, logvar = fuse(np.ones((2, 3)), np.array([[1e4] * 3, [-1e4] * 3]), power=power)
    assert np.isfinite(fused).all()
    assert np.isfinite(logvar).all()


def test_fusing_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="N ≥ 1"):
        fuse(np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="N×D"):
        fuse(np.zeros((2, 4)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="correlation"):
        fuse(np.zeros((2, 4)), np.zeros((2, 4)), correlation=1.1)
    with pytest.raises(ValueError, match="power"):
        fuse(np.zeros((2, 4)), np.zeros((2, 4)), power=-1)
