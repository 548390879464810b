"""Covers lie on the face, in every plane, and nowhere else."""

from __future__ import annotations

import av
import numpy as np
import pytest
from facestream.pipeline.redaction.covers import Style, cover_frame, cover_image, planar
from facestream.pipeline.redaction.plan import head_boxes

BOX = np.array([[21, 13, 61, 63]], np.float32)


def ellipse(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = ((x - 41) / 20) ** 2 + ((y - 38) / 25) ** 2 <= 1
    return np.asarray(inside, np.bool_)


@pytest.mark.parametrize("style", ["blur", "pixelate", "solid"])
@pytest.mark.parametrize(
    "pixels",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gbrp", "gray", "yuva420p", "yuv411p"],
)
def test_no_sample_of_the_ellipse_stays(style: Style, pixels: str) -> None:
    width, height = 94, 78
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixels)
    assert planar(frame.format)
    before = [bytes(plane) for plane in frame.planes]
    cover_frame(frame, BOX, style)
    inside = ellipse(width, height)
    for part in frame.format.components:
        plane = frame.planes[part.plane]
        kind = np.uint8 if part.bits <= 8 else np.uint16
        old, new = (
            np.frombuffer(data, kind).reshape(plane.height, -1)[:, : plane.width].astype(int)
            for data in (before[part.plane], bytes(plane))
        )
        if part.is_alpha:
            assert (old == new).all()
            continue
        across, down = round(width / plane.width), round(height / plane.height)
        # A sample counts as inside where any of its pixels is.
        rows = np.minimum(np.arange(plane.height * down), height - 1)
        columns = np.minimum(np.arange(plane.width * across), width - 1)
        cells = inside[rows][:, columns].reshape(plane.height, down, plane.width, across)
        within = cells.any(axis=(1, 3))
        assert new[within].std() < 0.55 * max(old[within].std(), 1)
        far = np.ones_like(within)
        far[max(0, 8 // down) : 68 // down + 1, 16 // across : 66 // across + 1] = False
        assert (old[far] == new[far]).all()


def test_another_frame_of_the_same_picture_stays() -> None:
    frame = av.VideoFrame(64, 64, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([90]) * plane.buffer_size)
    picture = frame.to_ndarray().copy()
    cover_frame(frame, np.zeros((0, 4), np.float32), "solid")
    assert (frame.to_ndarray() == picture).all()


def test_a_cover_beyond_the_edge_is_cut() -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8)
    before = image.copy()
    boxes = np.array([[-30, -30, 12, 14], [45, 30, 90, 90], [200, 200, 220, 240]], np.float32)
    cover_image(image, boxes, "pixelate")
    assert (image[20:28, 16:40] == before[20:28, 16:40]).all()
    assert (image[0, 0] != before[0, 0]).any() or (image[1, 1] != before[1, 1]).any()


def test_packed_pixels_are_not_planar() -> None:
    formats = {name: planar(av.VideoFormat(name, 8, 8)) for name in ("nv12", "rgb24", "yuyv422")}
    assert not any(formats.values())


def test_a_cover_holds_the_whole_head() -> None:
    face = np.array([[100, 100, 140, 160]], np.float32)
    x1, y1, x2, y2 = head_boxes(face, 1.5)[0].tolist()
    assert (x1, x2) == (88, 152)
    assert y1 < 83
    assert y2 > 170
