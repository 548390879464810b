"""A track's fused embedding."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.recognition.uncertainty import direction
from facestream.pipeline.tracking.fusion import MIN_WEIGHT, POWER, Template
from facestream.training.evaluation.probabilistic import fuse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

vectors = arrays(np.float32, 8, elements=st.floats(-4, 4, width=32))


def test_one_embedding_is_the_template_at_the_latent_length() -> None:
    template = Template()
    mu, logvar = np.arange(4, dtype=np.float32), np.full(4, -1, np.float32)
    template.add(mu, logvar, at=3.0)
    np.testing.assert_allclose(template.mu, direction(mu), rtol=1e-6)
    np.testing.assert_allclose(template.logvar, logvar, atol=1e-6)


def test_embeddings_are_weighted_by_a_power_of_their_precision() -> None:
    """As ``fuse`` does it with the same power, whatever the embeddings' times."""
    rng = np.random.default_rng(0)
    mu, logvar = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    template = Template()
    for row in range(5):
        template.add(mu[row], logvar[row], at=row * 0.04)
    fused, _ = fuse(direction(mu), logvar, power=POWER, per="face")
    np.testing.assert_allclose(template.mu, fused, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10_000))
def test_the_order_of_the_embeddings_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mu, logvar = rng.normal(size=(4, 8)), rng.normal(size=(4, 8))
    fused = []
    for order in (range(4), rng.permutation(4)):
        template = Template()
        for moment, row in enumerate(order):
            template.add(mu[row], logvar[row], at=moment * 0.04)
        fused.append(template.mu)
    np.testing.assert_allclose(fused[0], fused[1], rtol=1e-4, atol=1e-5)


def test_a_poor_first_embedding_is_overruled() -> None:
    template = Template()
    poor, good = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    template.add(poor, np.full(2, 0.4), at=0.0)
    template.add(good, np.full(2, -0.4), at=0.04)
    assert template.similarity(good) > 0.99
    assert (template.logvar <= -0.4).all()


def test_the_certainty_of_independent_embeddings_adds_up() -> None:
    template = Template()
    template.add(np.array([1.0], np.float32), np.log(np.array([1.0], np.float32)), at=0.0)
    template.add(np.array([3.0], np.float32), np.log(np.array([0.5], np.float32)), at=10.0)
    np.testing.assert_allclose(np.exp(template.logvar), [1 / 3], rtol=1e-6)


def test_embeddings_at_the_same_moment_hardly_add_certainty() -> None:
    template = Template()
    for _ in range(5):
        template.add(np.ones(3, np.float32), np.zeros(3, np.float32), at=1.0)
    precision = np.exp(-template.logvar)
    np.testing.assert_allclose(precision, 1 + 4 * MIN_WEIGHT, rtol=1e-5)


@given(st.lists(st.tuples(vectors, vectors), min_size=1, max_size=6))
def test_more_embeddings_never_make_it_less_certain(
    embeddings: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    template = Template()
    before = np.full(8, np.inf)
    for number, (mu, logvar) in enumerate(embeddings):
        template.add(mu, logvar, at=number * 0.04)
        assert (template.logvar <= before + 1e-4).all()
        before = template.logvar
    directions = [direction(mu) for mu, _ in embeddings]
    low, high = np.min(directions, axis=0), np.max(directions, axis=0)
    assert (template.mu >= low - 1e-3).all()
    assert (template.mu <= high + 1e-3).all()


def test_similarity_is_the_cosine() -> None:
    template = Template()
    template.add(np.array([3.0, 0.0], np.float32), np.zeros(2, np.float32), at=0.0)
    assert template.similarity(np.array([5.0, 0.0], np.float32)) == pytest.approx(1.0)
    assert template.similarity(np.array([0.0, 2.0], np.float32)) == pytest.approx(0.0)
    assert template.similarity(np.zeros(2, np.float32)) == 0.0


def test_an_empty_template_says_so() -> None:
    with pytest.raises(ValueError, match="without embeddings"):
        _ = Template().mu
    with pytest.raises(ValueError, match="without embeddings"):
        _ = Template().logvar
