"""Linear assignment, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.core.assignment import assign
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
# Ties, gains next to each other, and pairs that are impossible.
values = st.sampled_from([-np.inf, -3.0, 0.0, 1e-6, 0.3, 0.3 + 1e-15, 1.0, 1.0, 22.5]) | st.floats(
    -10, 30
)


def greatest(gains: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    possible = np.maximum(gains, 0.0)
    return float(possible[linear_sum_assignment(possible, maximize=True)].sum())


@given(arrays(np.float64, shapes, elements=values))
def test_the_sum_is_the_greatest(gains: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    before = gains.copy()
    pairs = assign(gains)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    assert all(gains[pair] > 0 for pair in pairs)
    assert sum(gains[pair] for pair in pairs) == pytest.approx(greatest(gains))
    assert np.array_equal(gains, before)


@pytest.mark.parametrize("shape", [(60, 60), (200, 150), (150, 200)])
def test_a_crowd(shape: tuple[int, int]) -> None:
    """Overlapping claims: each row could take many of the columns."""
    random = np.random.default_rng(3)
    gains = random.normal(-2, 6, shape)
    assert sum(gains[pair] for pair in assign(gains)) == pytest.approx(greatest(gains))


def test_nothing_to_assign() -> None:
    assert assign(np.zeros((0, 3))) == assign(np.zeros((3, 0))) == []
    assert assign(np.full((2, 2), -np.inf)) == []
