"""Resampling against torch's, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from facestream.pipeline.detection.mtcnn.atlas import atlas_of
from facestream.pipeline.detection.mtcnn.proposals import Level
from facestream.pipeline.detection.mtcnn.sampling import FILL, AreaSampler, cell_edges
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

IMAGE = np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)


def by_torch(image: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    result = torch.nn.functional.interpolate(tensor, size=(height, width), mode="area")
    return np.asarray(result[0].numpy())


@given(st.integers(1, 200), st.integers(1, 200))
def test_levels_are_torch_s_to_the_bit(height: int, width: int) -> None:
    ours = AreaSampler(IMAGE).level(Level(1.0, height, width))
    assert (ours == by_torch(IMAGE, height, width)).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 130), st.integers(0, 96), st.integers(1, 97), st.integers(1, 97)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([24, 48]),
)
def test_crops_are_torch_s_to_the_bit(places: list[tuple[int, int, int, int]], side: int) -> None:
    windows = np.array([(x, y, min(x + w, 131), min(y + h, 97)) for x, y, w, h in places])
    crops = AreaSampler(IMAGE).crops(windows, side)
    for (x1, y1, x2, y2), crop in zip(windows.tolist(), crops, strict=True):
        assert (crop == by_torch(IMAGE[y1:y2, x1:x2], side, side)).all()


def test_white_stays_white_where_the_table_overflows() -> None:
    """4,500 × 4,500 × 255 is more than 32 bits hold."""
    sampler = AreaSampler(np.full((4500, 4500, 3), 255, np.uint8))
    assert (sampler.level(Level(1.0, 10, 10)) == 255).all()
    assert (sampler.crops(np.array([[4000, 4000, 4500, 4500]]), 24) == 255).all()


@given(
    st.lists(
        st.tuples(*(st.integers(-n, n) for n in (150, 110)), *[st.integers(1, 250)] * 2),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([24, 48]),
)
def test_crops_beyond_the_edge_see_filling(
    places: list[tuple[int, int, int, int]], side: int
) -> None:
    windows = np.array([(x, y, x + w, y + h) for x, y, w, h in places])
    crops = AreaSampler(IMAGE).crops(windows, side)
    # Twice the values: the filling is no whole number.
    doubled = np.pad(
        IMAGE.astype(np.int32) * 2, ((400,) * 2, (400,) * 2, (0, 0)), constant_values=255
    )
    for (x1, y1, x2, y2), crop in zip((windows + 400).tolist(), crops, strict=True):
        wanted = by_torch(doubled[y1:y2, x1:x2], side, side) / 2
        np.testing.assert_allclose(crop, wanted, atol=2e-4)


@pytest.mark.parametrize("shape", [(30, 40), (31, 41)])
def test_a_level_has_its_border_on_an_atlas_too(shape: tuple[int, int]) -> None:
    levels = [Level(1.0, *shape, 6), Level(1.0, 17, 23, 6)]
    sampler, atlas = AreaSampler(IMAGE), atlas_of([*levels], least=18)
    picture = sampler.atlas(atlas)
    for level, (top, left) in zip(levels, atlas.corners, strict=True):
        height, width = level.shape
        alone = sampler.level(level)
        assert (alone[:, 6:-6, 6:-6] == sampler.level(replace(level, border=0))).all()
        assert (picture[:, top : top + height, left : left + width] == alone).all()
        alone[:, 6:-6, 6:-6] = FILL
        assert (alone == FILL).all()


@given(st.integers(1, 5000), st.integers(1, 500))
def test_cells_cover_everything(size: int, cells: int) -> None:
    first, last = cell_edges(size, cells)
    assert first[0] == 0
    assert last[-1] == size
    assert (last > first).all()
    assert (first[1:] <= last[:-1]).all()
