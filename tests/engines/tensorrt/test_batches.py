"""How a batch is divided over the batch sizes that are there."""

from __future__ import annotations

import itertools

import pytest
from facestream.engines.tensorrt.batches import _OVERHEAD, BatchPart, split_batch
from hypothesis import given
from hypothesis import strategies as st

SIZES = (1, 2, 4, 8, 16, 32, 64)
buckets = st.sets(st.integers(1, 40), min_size=1, max_size=5).map(tuple)


def cost(sizes: tuple[int, ...]) -> int:
    return sum(sizes) + _OVERHEAD * len(sizes)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, [1]),
        (3, [4]),
        (5, [8]),
        (9, [16]),
        (17, [16, 1]),
        (33, [32, 1]),
        (48, [32, 16]),
        (50, [64]),
        (64, [64]),
        (200, [64, 64, 64, 8]),
    ],
)
def test_a_little_short_is_filled_up_and_far_short_is_split(count: int, sizes: list[int]) -> None:
    assert [part.size for part in split_batch(count, SIZES)] == sizes


@given(st.integers(1, 300), buckets)
def test_every_row_once_and_in_order(count: int, sizes: tuple[int, ...]) -> None:
    parts = split_batch(count, sizes)
    rows = list(itertools.chain.from_iterable(range(p.start, p.stop) for p in parts))
    assert rows == list(range(count))
    assert all(1 <= part.rows <= part.size and part.size in sizes for part in parts)
    assert all(part.rows == part.size for part in parts[:-1])


@given(st.integers(1, 24), st.sets(st.integers(1, 12), min_size=1, max_size=3).map(tuple))
def test_no_other_way_is_cheaper(count: int, sizes: tuple[int, ...]) -> None:
    """Against all ways up to twice the largest size; beyond, the largest is taken off first."""
    if count >= 2 * max(sizes):
        count = 2 * max(sizes) - 1
    ways = (
        way
        for length in range(1, count + 1)
        for way in itertools.combinations_with_replacement(sizes, length)
        if sum(way) >= count and cost(way) <= cost((max(sizes),) * -(-count // min(sizes)))
    )
    best = min(cost(way) for way in itertools.islice(ways, 20_000))
    assert cost(tuple(part.size for part in split_batch(count, sizes))) <= best


def test_what_cannot_be_divided() -> None:
    assert split_batch(1, (7,)) == (BatchPart(0, 1, 7),)
    for count, sizes in ((0, (1,)), (1, ()), (1, (0, 1))):
        with pytest.raises(ValueError, match="cannot run"):
            split_batch(count, sizes)
