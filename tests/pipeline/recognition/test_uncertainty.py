"""Uncertainty and normalisation against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.recognition.uncertainty import direction, normalise, sigma
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 10_000)


@given(seeds)
def test_sigma_is_the_geometric_mean(seed: int) -> None:
    deviations = np.random.default_rng(seed).uniform(0.1, 3, (4, 16))
    expected = np.prod(deviations, axis=1) ** (1 / 16)
    assert sigma(2 * np.log(deviations)) == pytest.approx(expected, rel=1e-4)


@given(seeds)
def test_normalised_has_length_one(seed: int) -> None:
    mu = np.random.default_rng(seed).normal(size=(3, 16)) * 100
    assert np.linalg.norm(normalise(mu), axis=1) == pytest.approx(1, abs=1e-5)
    assert normalise(normalise(mu)) == pytest.approx(normalise(mu), abs=1e-6)
    assert normalise(np.zeros((2, 4))).tolist() == np.zeros((2, 4)).tolist()


def test_direction_has_the_length_of_the_latent_scale() -> None:
    mu = np.random.default_rng(0).normal(size=(5, 128)) * 7
    assert np.linalg.norm(direction(mu), axis=1) == pytest.approx(128**0.5, rel=1e-5)
    assert direction(np.zeros((2, 4))).tolist() == np.zeros((2, 4)).tolist()


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="N×D"):
        sigma(np.zeros(4))
