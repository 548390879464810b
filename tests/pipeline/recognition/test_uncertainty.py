"""Fusion and uncertainty against their formulas."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from facestream.pipeline.recognition.uncertainty import fuse, normalise, sigma
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 10_000)


@given(seeds)
def test_sigma_is_the_geometric_mean(seed: int) -> None:
    deviations = np.random.default_rng(seed).uniform(0.1, 3, (4, 16))
    expected = np.prod(deviations, axis=1) ** (1 / 16)
    assert sigma(2 * np.log(deviations)) == pytest.approx(expected, rel=1e-4)


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
    doubt = logvar if per == "dimension" else logvar.mean(axis=1, keepdims=True)
    weight = np.exp(-doubt) ** power * np.ones_like(mu)
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


@given(seeds)
def test_normalised_has_length_one(seed: int) -> None:
    mu = np.random.default_rng(seed).normal(size=(3, 16)) * 100
    assert np.linalg.norm(normalise(mu), axis=1) == pytest.approx(1, abs=1e-5)
    assert normalise(normalise(mu)) == pytest.approx(normalise(mu), abs=1e-6)
    assert normalise(np.zeros((2, 4))).tolist() == np.zeros((2, 4)).tolist()


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="N ≥ 1"):
        fuse(np.zeros((0, 4)), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="N×D"):
        fuse(np.zeros((2, 4)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="correlation"):
        fuse(np.zeros((2, 4)), np.zeros((2, 4)), correlation=1.1)
    with pytest.raises(ValueError, match="power"):
        fuse(np.zeros((2, 4)), np.zeros((2, 4)), power=-1)
    with pytest.raises(ValueError, match="N×D"):
        sigma(np.zeros(4))
