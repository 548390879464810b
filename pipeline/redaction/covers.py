"""Covers ellipses of decoded pictures, plane by plane, so that the rest is not converted."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..core.types import Floats, Image

Style = Literal["blur", "pixelate", "solid"]
Plane = NDArray[Any]

# Cells across a cover: a face has about two thirds of them. With these our own encoder names
# nobody (``python -m benchmarks redact``).
CELLS = {"blur": 4, "pixelate": 6}
# Chroma may have a fourth of the luma's columns (4:1:1): covers end where all planes can.
_GRID = 4


def planar(format: VideoFormat) -> bool:
    """Each component has a plane of its own, with samples of one or two bytes."""
    parts = format.components
    return (
        len({part.plane for part in parts}) == len(parts)
        and all(part.bits <= 16 for part in parts)
        and not format.is_big_endian
        and not format.has_palette
        and not format.is_bit_stream
    )


def cover_frame(frame: VideoFrame, boxes: Floats, style: Style) -> None:
    """Cover the ellipses in these boxes N×4, in pixels of a frame with a `planar` format.

    The frame's own memory changes (`VideoFrame.make_writable`).
    """
    if not len(boxes):
        return
    frame.make_writable()
    format = frame.format
    parts = [part for part in format.components if not part.is_alpha]
    planes = [_view(frame, part.plane, part.bits) for part in parts]
    # A face in grey stays one: luma is dark grey, chroma none.
    fills = [
        (1 << (part.bits - 1)) if part.is_chroma else (1 << part.bits) * 3 // 8 for part in parts
    ]
    _cover(planes, fills, boxes, (frame.width, frame.height), style)


def cover_image(image: Image, boxes: Floats, style: Style) -> None:
    """Cover the ellipses in these boxes N×4 of an image H×W×3 uint8, which changes."""
    height, width = image.shape[:2]
    planes = [image[:, :, channel] for channel in range(image.shape[2])]
    _cover(planes, [96] * len(planes), boxes, (width, height), style)


def _view(frame: VideoFrame, number: int, bits: int) -> Plane:
    """The samples of a plane; writing changes the frame."""
    plane = frame.planes[number]
    kind = np.uint8 if bits <= 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)  # type: ignore[call-overload]
    view: Plane = rows[:, : plane.width]
    return view


def _cover(
    planes: list[Plane], fills: list[int], boxes: Floats, size: tuple[int, int], style: Style
) -> None:
    width, height = size
    for box in boxes:
        place = _Place(box, width, height)
        if place.empty:
            continue
        for plane, fill in zip(planes, fills, strict=True):
            # A plane of w columns has a sample for every round(width / w) pixels.
            steps = round(width / plane.shape[1]), round(height / plane.shape[0])
            place.fill(plane, steps, fill, style)


class _Place:
    """An ellipse of the picture, on a grid on which samples of all planes begin."""

    def __init__(self, box: Floats, width: int, height: int) -> None:
        x1, y1, x2, y2 = (float(value) for value in box)
        self._box = x1, y1, x2, y2
        self._left = max(0, int(np.floor(x1 / _GRID)))
        self._top = max(0, int(np.floor(y1 / _GRID)))
        self._right = min(-(-width // _GRID), int(np.ceil(x2 / _GRID)))
        self._bottom = min(-(-height // _GRID), int(np.ceil(y2 / _GRID)))
        self.empty = self._left >= self._right or self._top >= self._bottom
        self._mask = None if self.empty else self._cells()

    def _cells(self) -> NDArray[np.bool_]:
        """The cells of the grid that the ellipse touches."""
        x1, y1, x2, y2 = self._box
        x = (np.arange(self._left, self._right) + 0.5) * _GRID
        y = (np.arange(self._top, self._bottom) + 0.5) * _GRID
        # Half a cell's diagonal more: every cell with a pixel of the ellipse in it.
        reach = _GRID * 0.7072
        across = (x - (x1 + x2) / 2) / max((x2 - x1) / 2 + reach, 1e-3)
        down = (y - (y1 + y2) / 2) / max((y2 - y1) / 2 + reach, 1e-3)
        return np.asarray(across[None, :] ** 2 + down[:, None] ** 2 <= 1, np.bool_)

    def fill(self, plane: Plane, steps: tuple[int, int], value: int, style: Style) -> None:
        assert self._mask is not None
        across, down = _GRID // steps[0], _GRID // steps[1]
        left, top = self._left * across, self._top * down
        part = plane[top : self._bottom * down, left : self._right * across]
        if not part.size:
            return
        mask = np.repeat(np.repeat(self._mask, down, axis=0), across, axis=1)
        mask = mask[: part.shape[0], : part.shape[1]]
        new = np.full_like(part, value) if style == "solid" else self._coarse(part, style)
        np.copyto(part, new, where=mask)

    def _coarse(self, part: Plane, style: Style) -> Plane:
        """The part with as few cells as the style has; fewer where it is cut by the edge."""
        x1, y1, x2, y2 = self._box
        shown = (
            (self._right - self._left) * _GRID / max(x2 - x1, 1.0),
            (self._bottom - self._top) * _GRID / max(y2 - y1, 1.0),
        )
        cells = CELLS[style]
        size = max(1, round(cells * min(shown[0], 1.0))), max(1, round(cells * min(shown[1], 1.0)))
        source = np.ascontiguousarray(part)
        few = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        way = cv2.INTER_NEAREST if style == "pixelate" else cv2.INTER_LINEAR
        whole = (part.shape[1], part.shape[0])
        return np.asarray(cv2.resize(few, whole, interpolation=way), part.dtype)
