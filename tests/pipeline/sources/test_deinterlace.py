"""Interlaced video is made whole; progressive video passes as it is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.sources import FileSource, SourceOptions, open_source

from tests.media import Picture, Size, make_clip

SIZE = (320, 240)
FRAMES = 24


def scene(time: float) -> Image:
    """Blobs that move to the right by 6 pixels a frame."""
    rng = np.random.default_rng(7)
    still = cv2.resize(rng.integers(20, 235, (12, 16, 3), dtype=np.uint8), SIZE)
    return np.asarray(np.roll(still, round(6 * time), axis=1), np.uint8)


def woven(first: int, *, later: float = 0.5) -> Picture:
    """Two fields of different times; ``later`` is that of the bottom field."""
    image = scene(first)
    image[1::2] = scene(first + later)[1::2]
    return image


def interlaced(path: Path, *, order: str, marked: bool) -> Path:
    def draw(index: int, _: Size) -> Picture:
        return woven(index) if order == "tff" else woven(index, later=-0.5)

    encoder = {"crf": "10"} | ({"x264-params": f"{order}=1"} if marked else {})
    return make_clip(path, frames=FRAMES, size=SIZE, encoder=encoder, draw=draw)


def read(path: Path) -> tuple[list[Image], FileSource]:
    with open_source(path) as source:
        assert isinstance(source, FileSource)
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert np.allclose([f.pts for f in frames], np.arange(len(frames)) / 10, atol=0.002)
    return [frame.image for frame in frames], source


def combs(image: Image) -> float:
    """How much the lines differ from their neighbours' mean."""
    grey = image[..., 1].astype(int)
    return float(np.abs(grey[2:-2] - (grey[1:-3] + grey[3:-1]) / 2).mean())


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("marked", [True, False])
def test_interlaced_frames_become_whole(tmp_path: Path, order: str, marked: bool) -> None:
    images, source = read(interlaced(tmp_path / "tv.mp4", order=order, marked=marked))
    assert (len(images), source.decoded, source.problems) == (FRAMES, FRAMES, [])
    # Without marks, the search takes a few frames.
    late = [combs(image) for image in images[0 if marked else 8 :]]
    assert max(late) < 0.3 * combs(woven(3))
    whole = min(np.abs(images[15].astype(int) - scene(15 + d)).mean() for d in (-0.5, 0, 0.5))
    assert whole < 6


def test_progressive_frames_are_not_touched(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "film.mp4", frames=FRAMES, size=SIZE, draw=lambda index, _: scene(index)
    )
    images, _ = read(path)
    with open_source(path, SourceOptions(decode_threads=1)) as source:
        assert isinstance(source, FileSource)
        list(source)
        assert not source._decoder._deinterlacer.active
    assert np.abs(images[15].astype(int) - scene(15)).mean() < 6


def test_stripes_of_a_pixel_are_no_combs(tmp_path: Path) -> None:
    """A blind before which somebody walks."""

    def draw(index: int, size: Size) -> Picture:
        image = np.full((size[1], size[0], 3), 60, np.uint8)
        image[::2] = 180
        image[60:180, 10 * index : 10 * index + 60] = scene(0)[60:180, :60]
        return image

    path = make_clip(tmp_path / "blind.mp4", frames=FRAMES, size=SIZE, draw=draw)
    with open_source(path) as source:
        assert isinstance(source, FileSource)
        list(source)
        assert not source._decoder._deinterlacer.active


def test_a_change_of_size_loses_no_frame(tmp_path: Path) -> None:
    small = interlaced(tmp_path / "a.ts", order="tff", marked=True)
    large = make_clip(
        tmp_path / "b.ts", frames=5, size=(160, 120), encoder={"x264-params": "tff=1"}
    )
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with open_source(both) as source:
        shapes = [frame.image.shape[1] for frame in source]
    assert shapes == [320] * FRAMES + [160] * 5
