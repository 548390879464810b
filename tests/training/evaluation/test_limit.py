"""The limit of sigma is where nearly all probes are missed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from facestream.training.evaluation.limit import sigma_limit


def test_the_step_is_found() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 1.5, 4000).astype(np.float32)
    missed = rng.random(4000) < np.where(sigma > 1.2, 0.97, 0.2)
    similarity = np.where(missed, 0.1, 0.6).astype(np.float32)
    limit = sigma_limit(sigma, similarity, threshold=0.4)
    assert limit.value == pytest.approx(1.2, abs=0.03)
    assert limit.fnmr == pytest.approx(0.97, abs=0.02)
    assert limit.beyond == pytest.approx(0.3, abs=0.03)
    assert limit.matched_beyond == pytest.approx(0.3 * 0.03, abs=0.01)


def test_no_limit_where_nothing_is_hopeless_or_too_few_are() -> None:
    sigma = np.linspace(0.5, 1.5, 400, dtype=np.float32)
    good = np.full(400, 0.8, np.float32)
    assert math.isinf(sigma_limit(sigma, good, threshold=0.4).value)
    few = np.where(sigma > np.float32(1.45), 0.1, 0.8).astype(np.float32)
    assert math.isinf(sigma_limit(sigma, few, threshold=0.4).value)


def test_a_limit_never_rests_on_luck_at_low_sigma() -> None:
    """A run of misses among clear pictures does not make them hopeless."""
    sigma = np.linspace(0.5, 1.5, 1000, dtype=np.float32)
    similarity = np.full(1000, 0.8, np.float32)
    similarity[100:150] = similarity[900:] = 0.1
    assert sigma_limit(sigma, similarity, threshold=0.4).value == pytest.approx(1.4, abs=0.01)


def test_shapes() -> None:
    with pytest.raises(ValueError, match="must be N"):
        sigma_limit(np.zeros(0, np.float32), np.zeros(0, np.float32), threshold=0.4)
