"""A picture with what is watched, masked and searched drawn in."""

from __future__ import annotations

import cv2
import numpy as np

from ...core.config import Polygon
from ...core.types import Image
from ...detection.region import View
from .labels import Colour, Label, plate

WATCHED: Colour = (94, 220, 110)
MASKED: Colour = (70, 70, 240)
SEARCHED: Colour = (255, 190, 60)
SMALLEST: Colour = (205, 205, 205)


def draw_regions(image: Image, view: View, *, title: str) -> Image:
    """A copy of a picture for people who set up a camera.

    What is not watched is dark, what is masked is red; a thin frame shows the part that the
    detector is given, a square in the corner the smallest face that is looked for. Rulers along
    the edges count tenths: the fractions that polygons are written in.

    Args:
        image: H×W×3 BGR uint8.
        view: how it is searched.
        title: what its plate says.
    """
    height, width = image.shape[:2]
    canvas = image.copy()
    if view.watch:
        watched = _filled(view.watch, height, width)
        canvas[~watched] = canvas[~watched] // 3
    if view.mask:
        masked = _filled(view.mask, height, width)
        red = np.array(MASKED, np.uint16)
        canvas[masked] = ((canvas[masked].astype(np.uint16) + red) // 2).astype(np.uint8)
    line = max(2, min(height, width) // 240)
    for polygons, colour in ((view.watch, WATCHED), (view.mask, MASKED)):
        for polygon in polygons:
            corners = _pixels(polygon, height, width)
            cv2.polylines(canvas, [corners], True, colour, line, cv2.LINE_AA)
    left, top, right, bottom = view.region(height, width).box
    if (left, top, right, bottom) != (0, 0, width, height):
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), SEARCHED, 1, cv2.LINE_AA)
    if view.min_face is not None:
        side = view.min_face
        corner = (width - side - 2 * line, height - side - 2 * line)
        far = (corner[0] + side, corner[1] + side)
        cv2.rectangle(canvas, corner, far, SMALLEST, line, cv2.LINE_AA)
    for tenth in range(1, 10):
        number = plate(Label(f"0.{tenth}", "", SMALLEST), max(9, height // 60), width)
        _paste(canvas, number, (height - number.shape[0], width * tenth // 10))
        _paste(canvas, number, (height * tenth // 10, 0))
    label = Label(title, f"{width}×{height}", SMALLEST)
    _paste(canvas, plate(label, max(12, height // 30), width), (0, 0))
    return canvas


def _pixels(
    polygon: Polygon, height: int, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.asarray(np.rint(np.asarray(polygon) * [width, height]), np.int32)


def _filled(
    polygons: tuple[Polygon, ...], height: int, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    inside = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(inside, [_pixels(polygon, height, width)], 1)
    return inside > 0


def _paste(canvas: Image, picture: Image, corner: tuple[int, int]) -> None:
    """Put a small picture onto the canvas, as much of it as there is room for."""
    place = canvas[corner[0] :, corner[1] :][: picture.shape[0], : picture.shape[1]]
    place[:] = picture[: place.shape[0], : place.shape[1]]
