"""A track's fused embedding."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.stages.template import MIN_WEIGHT, Template
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

vectors = arrays(np.float32, 8, elements=st.floats(-4, 4, width=32))


def test_one_look_is_the_template() -> None:
    template = Template()
    mu, logvar = np.arange(4, dtype=np.float32), np.full(4, -1, np.float32)
    template.add(mu, logvar, at=3.0)
    np.testing.assert_allclose(template.mu, mu)
    np.testing.assert_allclose(template.logvar, logvar, atol=1e-6)


def test_independent_looks_are_weighted_by_their_precision() -> None:
    template = Template()
    template.add(np.array([0.0], np.float32), np.log(np.array([1.0], np.float32)), at=0.0)
    template.add(np.array([3.0], np.float32), np.log(np.array([0.5], np.float32)), at=10.0)
    # (0/1 + 3/0.5) / (1/1 + 1/0.5)
    np.testing.assert_allclose(template.mu, [2.0], rtol=1e-6)
    np.testing.assert_allclose(np.exp(template.logvar), [1 / 3], rtol=1e-6)


def test_looks_at_the_same_moment_hardly_add_certainty() -> None:
    template = Template()
    for _ in range(5):
        template.add(np.ones(3, np.float32), np.zeros(3, np.float32), at=1.0)
    precision = np.exp(-template.logvar)
    np.testing.assert_allclose(precision, 1 + 4 * MIN_WEIGHT, rtol=1e-5)


@given(st.lists(st.tuples(vectors, vectors), min_size=1, max_size=6))
def test_more_looks_never_make_it_less_certain(looks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    template = Template()
    before = np.full(8, np.inf)
    for number, (mu, logvar) in enumerate(looks):
        template.add(mu, logvar, at=number * 0.04)
        assert (template.logvar <= before + 1e-4).all()
        before = template.logvar
    low = np.min([mu for mu, _ in looks], axis=0)
    high = np.max([mu for mu, _ in looks], axis=0)
    assert (template.mu >= low - 1e-3).all()
    assert (template.mu <= high + 1e-3).all()


def test_similarity_is_the_cosine() -> None:
    template = Template()
    template.add(np.array([3.0, 0.0], np.float32), np.zeros(2, np.float32), at=0.0)
    assert template.similarity(np.array([5.0, 0.0], np.float32)) == pytest.approx(1.0)
    assert template.similarity(np.array([0.0, 2.0], np.float32)) == pytest.approx(0.0)
    assert template.similarity(np.zeros(2, np.float32)) == 0.0


def test_an_empty_template_says_so() -> None:
    with pytest.raises(ValueError, match="without looks"):
        _ = Template().mu
    with pytest.raises(ValueError, match="without looks"):
        _ = Template().logvar
