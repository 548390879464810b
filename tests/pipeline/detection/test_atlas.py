"""Levels of a pyramid on one sheet."""

from __future__ import annotations

import numpy as np
from facestream.pipeline.detection.mtcnn.atlas import cell_map, sheet_of
from facestream.pipeline.detection.mtcnn.proposals import STRIDE, WINDOW, pyramid
from hypothesis import assume, given, settings
from hypothesis import strategies as st

sides = st.integers(24, 1500)


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, min_face=st.integers(12, 120))
def test_levels_share_a_sheet_without_touching_each_other(
    height: int, width: int, min_face: int
) -> None:
    levels = pyramid(height, width, min_face=min_face, factor=0.709)
    assume(levels)
    sheet = sheet_of(levels, least=WINDOW)
    taken = np.zeros((sheet.height, sheet.width), np.uint8)
    for (tall, wide), (top, left) in zip(sheet.sizes, sheet.corners, strict=True):
        assert top % STRIDE == left % STRIDE == 0
        part = taken[top : top + tall, left : left + wide]
        assert part.shape == (tall, wide)
        part += 1
    assert taken.max() == 1


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, min_face=st.integers(12, 120))
def test_every_window_of_every_level_has_its_cell(height: int, width: int, min_face: int) -> None:
    levels = pyramid(height, width, min_face=min_face, factor=0.709)
    assume(levels)
    sheet = sheet_of(levels, least=WINDOW)
    cells = cell_map(sheet)
    for index, (tall, wide) in enumerate(sheet.sizes):
        # P-Net without padding, with a pooling that keeps a last odd row: ⌈side / 2⌉ − 5 cells.
        expected = (-(-tall // STRIDE) - 5) * (-(-wide // STRIDE) - 5)
        assert int((cells.level == index).sum()) == expected
        lacking = cells.lack[cells.level == index]
        assert bool((lacking & 1).any()) == bool(tall % STRIDE)
        assert bool((lacking & 2).any()) == bool(wide % STRIDE)
