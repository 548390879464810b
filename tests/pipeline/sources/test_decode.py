"""Samples of brightness, for any pixel format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame
from facestream.pipeline.ingest.delivery import FrozenDetector
from facestream.pipeline.sources.convert import Converter
from facestream.pipeline.sources.decode import DecodedPicture
from numpy.typing import NDArray

FORMATS = [
    *("yuv420p", "yuvj422p", "nv12", "yuyv422", "gray", "bgr24"),
    *("yuv420p10le", "p010le", "yuv444p12le", "gray10le"),
]


def sampled(values: NDArray[Any], pixel_format: str) -> bytes:
    image = np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)
    frame = VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixel_format)
    return DecodedPicture(frame, None, Converter(1.0)).sample()


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_sample_is_brightness_from_left_to_right(pixel_format: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 320), (160, 1))
    sample = np.frombuffer(sampled(ramp, pixel_format), np.uint8).reshape(20, 40).astype(int)
    assert (np.abs(sample - sample[0]) <= 1).all()
    assert (np.diff(sample[0]) >= 0).all()
    assert sample[0, 0] < 30
    assert sample[0, -1] > 215


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_frozen_camera_is_noticed_whatever_its_depth(pixel_format: str) -> None:
    """Coding moves values by a few steps at each key frame, which is noise in the low bits."""
    rng = np.random.default_rng(1)
    scene = rng.integers(20, 230, (96, 128))
    detector = FrozenDetector(2.0)
    noise = rng.integers(-3, 4, (10, *scene.shape))
    pictures = [sampled(scene + noise[group], pixel_format) for group in range(10)]
    said = [
        detector.update(lambda n=n: pictures[n // 10], n / 25)  # type: ignore[misc]
        for n in range(100)
    ]
    assert said[-1]
    assert 2.0 <= said.index(True) / 25 <= 2.6
