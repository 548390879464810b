"""Levels of a pyramid on one atlas."""

from __future__ import annotations

import numpy as np
from facestream.pipeline.detection.mtcnn.atlas import atlas_map, atlas_of
from facestream.pipeline.detection.mtcnn.proposals import STRIDE, WINDOW, pyramid
from hypothesis import assume, given, settings
from hypothesis import strategies as st

sides = st.integers(24, 1500)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, min_face=st.integers(12, 120), border=st.sampled_from([0, 6]))
def test_levels_share_a_sheet_without_touching_each_other(
    height: int, width: int, min_face: int, border: int
) -> None:
    levels = pyramid(height, width, min_face=min_face, factor=0.709, border=border)
    assume(levels)
    atlas = atlas_of(levels, least=WINDOW)
    taken = np.zeros((atlas.height, atlas.width), np.uint8)
    for level, (top, left) in zip(atlas.levels, atlas.corners, strict=True):
        tall, wide = level.shape
        assert top % STRIDE == left % STRIDE == 0
        part = taken[top : top + tall, left : left + wide]
        assert part.shape == (tall, wide)
        part += 1
    assert taken.max() == 1


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, min_face=st.integers(12, 120), border=st.sampled_from([0, 6]))
def test_every_window_of_every_level_has_its_cell(
    height: int, width: int, min_face: int, border: int
) -> None:
    levels = pyramid(height, width, min_face=min_face, factor=0.709, border=border)
    assume(levels)
    atlas = atlas_of(levels, least=WINDOW)
    cells = atlas_map(atlas)
    for index, (tall, wide) in enumerate(level.shape for level in levels):
        # P-Net without padding, with a pooling that keeps a last odd row: ⌈side / 2⌉ − 5 cells.
        expected = (-(-tall // STRIDE) - 5) * (-(-wide // STRIDE) - 5)
        assert int((cells.level == index).sum()) == expected
        lacking = cells.edge_mask[cells.level == index]
        assert bool((lacking & 1).any()) == bool(tall % STRIDE)
        assert bool((lacking & 2).any()) == bool(wide % STRIDE)
