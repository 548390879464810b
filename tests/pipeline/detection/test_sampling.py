"""Resampling against torch's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.detection.mtcnn.sampling import AreaSampler, cell_edges
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
    ours = AreaSampler(IMAGE).level(height, width)
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
    assert (sampler.level(10, 10) == 255).all()
    assert (sampler.crops(np.array([[4000, 4000, 4500, 4500]]), 24) == 255).all()


@given(st.integers(1, 5000), st.integers(1, 500))
def test_cells_cover_everything(size: int, cells: int) -> None:
    first, last = cell_edges(size, cells)
    assert first[0] == 0
    assert last[-1] == size
    assert (last > first).all()
    assert (first[1:] <= last[:-1]).all()
