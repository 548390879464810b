"""The part and scale of a source's frames that the detector sees, and its boxes mapped back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.config import Polygon, Settings
from ..core.types import Faces, Floats, Frame, Image

# A face centred on the edge of a watched area must be seen whole: the search extends beyond the
# area by this share of the picture's longer side.
_AROUND = 0.05

# The detector's smallest window.
_LEAST = 12


@dataclass(frozen=True, slots=True)
class View:
    """How the frames of a source are searched.

    Attributes:
        every: every N-th frame is searched; photos always are.
        min_face: smallest face in pixels of the frame; None leaves it to the detector, which
            then takes its own as pixels of what it is given.
        refresh: where only what changed is searched, the longest time in seconds between two
            searches of the whole picture; None: always the whole.
        size: longest side in pixels of the picture that is searched, 0 < size; None: as it is.
        watch: only faces whose centre lies in one of these polygons count; none: all of them.
        mask: faces whose centre lies in one of these polygons never count.
    """

    every: int = 1
    min_face: int | None = None
    refresh: float | None = None
    size: int | None = None
    watch: tuple[Polygon, ...] = ()
    mask: tuple[Polygon, ...] = ()

    def turn(self, frame: Frame) -> int:
        """Number of its group of ``every`` frames; the first of a group to arrive is searched."""
        return frame.index // self.every

    def region(self, height: int, width: int) -> Region:
        """The region of a picture of this size in pixels."""
        return _region(self, height, width)


@dataclass(frozen=True)
class Region:
    """The part of a picture that is searched, and its scale.

    Attributes:
        view: its settings.
        height: of the picture in pixels.
        width: of the picture in pixels.
        box: x1, y1 and one past x2, y2 in pixels of the picture.
        size: height and width of what the detector is given.
        min_face: smallest face in pixels of what the detector is given; None: its own.
    """

    view: View
    height: int
    width: int
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    min_face: int | None

    def cut(self, image: Image) -> Image:
        """The detector's input: a part of the picture, not copied unless shrunk."""
        left, top, right, bottom = self.box
        part = image[top:bottom, left:right]
        if part.shape[:2] == self.size:
            return part
        return _shrunk(part, *self.size)

    def restore(self, faces: Faces) -> Faces:
        """Faces of `cut`'s picture in pixels of the whole, those that count."""
        if not len(faces):
            return faces
        left, top, right, bottom = self.box
        height, width = self.size
        if self.size != (self.height, self.width):
            scale = np.array([(right - left) / width, (bottom - top) / height], np.float32)
            shift = np.array([left, top], np.float32)
            boxes = faces.boxes * np.tile(scale, 2) + np.tile(shift, 2)
            faces = replace(faces, boxes=boxes, landmarks=faces.landmarks * scale + shift)
        return self.counted(faces)

    def counted(self, faces: Faces) -> Faces:
        """Those faces, in pixels of the whole picture, that are watched and not masked."""
        if not self.view.watch and not self.view.mask:
            return faces
        return faces.take(np.flatnonzero(self._counts(faces.boxes)))

    def _counts(self, boxes: Floats) -> NDArray[np.bool_]:
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        # A face may reach beyond the picture; its centre counts as on the edge.
        centres = centres.clip(0, [self.width, self.height])
        counts = np.ones(len(boxes), np.bool_)
        if self._watch:
            counts &= np.any([inside(centres, polygon) for polygon in self._watch], axis=0)
        for polygon in self._mask:
            counts &= ~inside(centres, polygon)
        return counts

    @cached_property
    def _watch(self) -> list[NDArray[np.float64]]:
        return [self._pixels(polygon) for polygon in self.view.watch]

    @cached_property
    def _mask(self) -> list[NDArray[np.float64]]:
        return [self._pixels(polygon) for polygon in self.view.mask]

    def _pixels(self, polygon: Polygon) -> NDArray[np.float64]:
        return np.asarray(polygon, np.float64) * [self.width, self.height]


def _shrunk(image: Image, height: int, width: int) -> Image:
    """A picture at this smaller size, in steps of a half: every pixel counts, and at 4K that
    takes a third of the time of an average over areas."""
    while image.shape[0] > 2 * height or image.shape[1] > 2 * width:
        half = (max(width, -(-image.shape[1] // 2)), max(height, -(-image.shape[0] // 2)))
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@lru_cache(maxsize=256)
def _region(view: View, height: int, width: int) -> Region:
    left, top, right, bottom = 0, 0, width, height
    if view.watch:
        corners = np.concatenate([np.asarray(polygon) for polygon in view.watch])
        corners = corners * [width, height]
        around = _AROUND * max(height, width)
        left, top = np.maximum(np.floor(corners.min(axis=0) - around), 0).astype(int).tolist()
        far = np.ceil(corners.max(axis=0) + around)
        right, bottom = np.minimum(far, [width, height]).astype(int).tolist()
    # The scale is that of the whole picture: a watched part is not searched at a larger one.
    scale = 1.0 if view.size is None else min(1.0, view.size / max(height, width))
    size = (max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale)))
    min_face = None if view.min_face is None else max(_LEAST, round(view.min_face * scale))
    return Region(view, height, width, (left, top, right, bottom), size, min_face)


def inside(points: NDArray[np.floating], polygon: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of the points N×2 lie in a polygon K×2, by the even-odd rule; edges count as inside."""
    contour = np.ascontiguousarray(polygon, np.float32).reshape(-1, 1, 2)
    places = ((float(x), float(y)) for x, y in points)
    return np.array([cv2.pointPolygonTest(contour, xy, False) >= 0 for xy in places], np.bool_)


def view_of(settings: Settings, source: str, *, live: bool = False, resident: bool = False) -> View:
    """How the settings search a source: a camera, or another one, which has no areas of its own.

    ``live`` makes ``tracking.search = "auto"`` mean ``"changes"``, but for a detector that stays on
    a GPU (``resident``): it searches pictures of one size together, and cut frames have many sizes.
    """
    camera = settings.cameras.get(source)
    merged = settings.for_source(source)
    tracking = merged.tracking
    search = tracking.search
    if search == "auto":
        search = "changes" if live and not resident else "whole"
    refresh = tracking.refresh if search == "changes" else None
    if camera is None:
        return View(every=tracking.detect_every, refresh=refresh)
    return View(
        every=tracking.detect_every,
        refresh=refresh,
        min_face=merged.detector.min_face,
        size=camera.detect_size,
        watch=camera.watch,
        mask=camera.mask,
    )
