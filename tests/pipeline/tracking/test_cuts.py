"""Cuts are told from motion, however few of the frames are seen."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.tracking.cuts import CutDetector


def noise(shade: int, *, size: tuple[int, int] = (180, 320)) -> Image:
    """Coarse noise about a shade."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(-60, 60, (size[0] // 10, size[1] // 10, 3)) + shade
    return np.repeat(np.repeat(blocks, 10, 0), 10, 1).clip(0, 255).astype(np.uint8)


def test_a_picture_that_moves_is_no_cut() -> None:
    cut = CutDetector()
    picture = noise(120)
    assert [cut(np.roll(picture, 50 * i, axis=1)) for i in range(6)] == [False] * 6


def test_other_colours_or_another_size_are_a_cut() -> None:
    cut = CutDetector()
    assert not cut(noise(80))
    assert cut(noise(170))
    assert not cut(noise(170))
    assert cut(noise(170, size=(240, 320)))


@pytest.mark.parametrize("every", [1, 4, 8])
def test_the_cuts_of_a_film_are_found(shared_data: Path, every: int) -> None:
    cut, found = CutDetector(), []
    with av.open(str(shared_data / "videos" / "hamilton_640x360.mp4")) as film:
        for index, frame in enumerate(film.decode(video=0)):
            if index % every == 0 and cut(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)):
                found.append(index)
    assert found == [-(-real // every) * every for real in (20, 82, 211)]
