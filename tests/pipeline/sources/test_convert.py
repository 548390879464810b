"""Decoded frames become the pictures that players show: upright, in the right colours."""

from __future__ import annotations

import gc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from facestream.pipeline.core.types import Image
from facestream.pipeline.sources import open_source
from facestream.pipeline.sources.convert import Converter, is_plain
from numpy.typing import NDArray

from tests.media import make_clip, picture

# FFmpeg's numbers: matrices, ranges, transfers, primaries.
BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 6, 9
LIMITED, FULL = 1, 2
PQ, HLG = 16, 18
WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}


STRAIGHT = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)]
TRANSPOSED = [(0, b, c, 0) for b, c in product((1, -1), repeat=2)]


@pytest.mark.parametrize("matrix", STRAIGHT + TRANSPOSED)
def test_all_eight_display_matrices(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = matrix
    path = make_clip(tmp_path / "phone.mp4", frames=2, matrix=matrix)
    with open_source(path) as source:
        found = next(iter(source)).image
    coded = picture(0, (160, 120))
    shown = coded if a else coded.transpose(1, 0, 2)
    shown = shown[:: d or b, :: a or c]
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).mean() < 6
    assert (source.info.height, source.info.width) == shown.shape[:2]


def yuv(
    levels: tuple[int, int, int], *, size: tuple[int, int] = (64, 48), bits: int = 8
) -> VideoFrame:
    """A frame of one colour, given for 8 bits."""
    frame = VideoFrame(*size, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, level in zip(frame.planes, levels, strict=True):
        kind = np.uint8 if bits == 8 else np.uint16
        count = plane.buffer_size // np.dtype(kind).itemsize
        plane.update(np.full(count, level << (bits - 8), kind).tobytes())
    return frame


def bgr(levels: tuple[int, int, int], matrix: int, *, full: bool) -> NDArray[np.float64]:
    """As ITU-R BT.601, BT.709 and BT.2020 define it."""
    y, u, v = levels
    scale = ((y / 255, (u - 128) / 255, (v - 128) / 255)) if full else None
    luma, blue, red = scale or ((y - 16) / 219, (u - 128) / 224, (v - 128) / 224)
    kr, kb = WEIGHTS[matrix]
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.asarray(np.clip(np.array([b, g, r]) * 255, 0, 255))


def pixel(frame: VideoFrame) -> NDArray[np.float64]:
    image = Converter(1.0).convert(frame)
    assert image is not None
    return np.asarray(image[20, 20], float)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("colour_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT601, BT709])
def test_matrix_and_range_are_honoured(matrix: int, colour_range: int, bits: int) -> None:
    for levels in [(60, 128, 128), (120, 110, 150), (180, 140, 100), (200, 120, 135)]:
        frame = yuv(levels, bits=bits)
        frame.colorspace, frame.color_range = matrix, colour_range
        want = bgr(levels, matrix, full=colour_range == FULL)
        assert np.abs(pixel(frame) - want).max() < 2.5


@pytest.mark.parametrize(("size", "matrix"), [((640, 480), BT601), ((1280, 720), BT709)])
@pytest.mark.parametrize("mark", [UNSPECIFIED, 3, 8, 14])
def test_an_unmarked_video_is_bt709_in_high_definition(
    size: tuple[int, int], matrix: int, mark: int
) -> None:
    """As players choose; a matrix that cannot be converted (3: reserved) costs nothing."""
    frame = yuv((120, 110, 160), size=size)
    frame.colorspace, frame.color_range = mark, LIMITED
    assert np.abs(pixel(frame) - bgr((120, 110, 160), matrix, full=False)).max() < 2.5


def coded(screen: NDArray[np.float64], transfer: int) -> VideoFrame:
    """Colours of a BT.709 screen (H×W×3 BGR, 0..255), white at 203 cd/m², as HDR video."""
    light = (screen[..., ::-1] / 255) ** 2.4
    to_wide = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    light = light @ np.array(to_wide).T
    if transfer == PQ:
        power = (light * 203 / 10_000) ** (2610 / 16384)
        code = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32)
    elif transfer == HLG:
        light *= 203 / 1000
        scene = light * (light @ [[0.2627], [0.6780], [0.0593]]) ** (1 / 1.2 - 1)
        low, high = np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene, 1) - 0.28466892)
        code = np.where(scene <= 1 / 12, low, high + 0.55991073)
    else:
        code = light ** (1 / 2.4)
    whole = np.rint(code * 65535).astype(np.uint16)
    frame = VideoFrame.from_ndarray(whole, format="rgb48le")
    frame = frame.reformat(format="yuv444p10le", dst_colorspace=BT2020, dst_color_range=LIMITED)
    frame.colorspace, frame.color_range = BT2020, LIMITED
    frame.color_primaries, frame.color_trc = BT2020, transfer
    return frame


def chart() -> Image:
    """Greys and the colours of skin, cloth and leaves."""
    colours = [(v, v, v) for v in range(10, 190, 20)]
    colours += [(110, 130, 190), (60, 80, 130), (150, 60, 50), (50, 120, 70), (30, 30, 160)]
    return np.repeat(np.array([colours], np.uint8), 16, axis=0).repeat(16, axis=1)


@pytest.mark.parametrize("transfer", [PQ, HLG, 14])
def test_hdr_looks_like_sdr(transfer: int) -> None:
    """What a screen of 203 cd/m² can show looks the same; 14: BT.2020 of ordinary brightness."""
    found = Converter(1.0).convert(coded(chart().astype(float), transfer))
    assert found is not None
    assert found.shape == chart().shape
    assert np.abs(found.astype(int) - chart()).max() <= 6


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_keep_their_order(transfer: int) -> None:
    light = np.repeat(np.linspace(150, 400, 32)[None, :, None], 3, axis=2)  # up to 600 cd/m²
    found = Converter(1.0).convert(coded(np.repeat(light, 16, axis=0), transfer))
    assert found is not None
    row = found[8, :, 1].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[0] == pytest.approx(150, abs=4)
    assert row[13] < 252 <= row[-1]


def test_frames_are_freed_without_garbage_collection() -> None:
    """A cycle in each frame would keep hundreds of megabytes that cannot be reused."""
    frame = VideoFrame(64, 48, "yuv420p")
    gc.collect()
    gc.disable()
    try:
        assert is_plain(frame)
        assert Converter(1.0).convert(frame) is not None
        del frame
        assert gc.collect() == 0
    finally:
        gc.enable()
