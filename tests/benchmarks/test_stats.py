"""Medians, spreads and ratios of rounds."""

from __future__ import annotations

import math

import pytest
from facestream.pipeline.cli.bench_results import LEAST_NOISE, UNKNOWN_SPREAD, Ratio, noise, spread
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scheduler import ratio

rates = st.floats(0.01, 1e6)
rounds = st.lists(rates, min_size=1, max_size=9)


def test_a_ratio_is_taken_round_by_round() -> None:
    # Twice as fast in each round, though the machine slowed down by ten in between.
    assert ratio([100, 10], [50, 5]) == Ratio(2.0, 2.0, 2.0)


def test_the_spread_is_the_range_over_the_median() -> None:
    assert spread([10, 12, 11]) == pytest.approx(2 / 11)
    assert spread([10]) is None


def test_noise_adds_as_independent_errors_do() -> None:
    assert noise([10, 13, 10], [100, 140, 100]) == pytest.approx(math.hypot(0.3, 0.4))
    assert noise([10, 10], [10, 10]) == LEAST_NOISE
    assert noise([10], [10, 10]) == UNKNOWN_SPREAD


@pytest.mark.parametrize(
    ("reference", "own"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([1.0], [-1.0])]
)
def test_what_has_no_ratio_is_refused(reference: list[float], own: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pair|above 0"):
        ratio(reference, own)


@given(rounds)
def test_to_itself_everything_is_once_as_fast(values: list[float]) -> None:
    assert ratio(values, values) == Ratio(1.0, 1.0, 1.0)


@given(rounds, rates)
def test_a_ratio_does_not_hang_on_the_unit(values: list[float], unit: float) -> None:
    found = ratio([value * unit for value in values], values)
    assert found.median == pytest.approx(unit)
    assert found.low <= found.median <= found.high


@given(rounds, rounds)
def test_noise_counts_both_alike(old: list[float], new: list[float]) -> None:
    assert noise(old, new) == noise(new, old) >= LEAST_NOISE
