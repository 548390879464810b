"""Holes lie where they should and leave something to go by."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.training.generation.holes import (
    KINDS,
    REGIONS,
    box_hole,
    hole_of_kind,
    random_hole,
    region_hole,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31))
def test_every_hole_leaves_a_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for hole in (random_hole(rng), *(hole_of_kind(kind, rng) for kind in KINDS)):
        assert hole.shape == (112, 112)
        assert 0.01 < hole.mean() < 0.7


def test_named_regions() -> None:
    assert region_hole("left")[:, :56].all()
    assert not region_hole("left")[:, 56:].any()
    assert (region_hole("left") ^ region_hole("right")).all()
    assert region_hole("mouth")[92, 56]  # the template's mouth
    assert region_hole("eyes")[52, [38, 74]].all()
    assert set(REGIONS) >= {"mouth", "eyes", "left", "right"}
    with pytest.raises(ValueError, match="no region is called 'nose'"):
        region_hole("nose")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no hole is called"):
        hole_of_kind("round", np.random.default_rng(0))  # type: ignore[arg-type]


def test_boxes_are_cut_at_the_edge() -> None:
    assert box_hole(-5, 100, 10, 200).sum() == 10 * 12
    with pytest.raises(ValueError, match="covers nothing"):
        box_hole(120, 0, 130, 10)
