"""Pictures of a live source that lie in a decoder's slots."""

from __future__ import annotations

from av.video.frame import VideoFrame

from ...core.types import Image
from ..convert import Converter
from .messages import Pixels
from .ring import Ring, plane_of


class NoPicture:
    """A `Picture` that cannot be made."""

    def __init__(self, time: float | None) -> None:
        self.time = time

    def image(self) -> Image | None:
        return None

    def sample(self) -> bytes:
        return b""


class SlotPicture:
    """A `Picture` whose planes are in a slot, which is free again when the picture is deleted."""

    __slots__ = ("_converter", "_pixels", "_planes", "_ring", "time")

    def __init__(
        self,
        time: float | None,
        converter: Converter,
        ring: Ring,
        pixels: Pixels,
        planes: list[Image],
    ) -> None:
        self.time = time
        self._converter = converter
        self._ring: Ring | None = ring
        self._pixels = pixels
        self._planes = planes

    def copy(self) -> None:
        """Free the slot now."""
        self._planes = [plane.copy() for plane in self._planes]
        self._release()

    def image(self) -> Image | None:
        return self._converter.convert(self._frame())

    def sample(self) -> bytes:
        return self._converter.sample(self._frame())

    def _frame(self) -> VideoFrame:
        pixels = self._pixels
        frame = VideoFrame(pixels.width, pixels.height, pixels.format)
        frame.colorspace, frame.color_range = pixels.matrix, pixels.range
        for number, plane in enumerate(self._planes):
            rows, row = plane.shape
            plane_of(frame, number, (rows, row))[:] = plane
        return frame

    def _release(self) -> None:
        ring, self._ring = self._ring, None
        if ring is not None:
            ring.free(self._pixels.slot)

    def __del__(self) -> None:
        self._release()
