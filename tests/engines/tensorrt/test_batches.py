"""How a batch is divided over the batch sizes of a plan."""

from __future__ import annotations

import pytest
from facestream.engines.tensorrt.engine import split_batch
from hypothesis import given
from hypothesis import strategies as st

SIZES = (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (3, [4]), (9, [16]), (33, [64]), (64, [64]), (65, [64, 1]), (200, [64, 64, 64, 8])],
)
def test_the_rest_is_padded_to_the_next_size(count: int, sizes: list[int]) -> None:
    assert [size for _, size in split_batch(count, SIZES)] == sizes


@given(st.integers(1, 300), st.sets(st.integers(1, 40), min_size=1, max_size=5).map(sorted))
def test_every_row_once_and_in_order(count: int, sizes: list[int]) -> None:
    parts = split_batch(count, sizes)
    rows = list(range(count))
    assert [row for part, _ in parts for row in rows[part]] == rows
    assert all(len(rows[part]) <= size and size in sizes for part, size in parts)
    assert all(len(rows[part]) == size for part, size in parts[:-1])


def test_without_sizes_a_batch_is_one_run() -> None:
    assert split_batch(7, ()) == [(slice(0, 7), 7)]
