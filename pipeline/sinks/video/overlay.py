"""Draws boxes and name plates on a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...core.types import Image, TrackSnapshot
from .labels import Colour, Label, plate

KNOWN: Colour = (94, 220, 110)
UNKNOWN: Colour = (60, 176, 255)
PENDING: Colour = (205, 205, 205)

Rect = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; the last two are outside."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the pixels of a frame lie on the canvas: multiplied by ``scale``, then shifted."""

    scale: float = 1.0
    left: int = 0
    top: int = 0

    def rect(
        self, box: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    ) -> Rect:
        """A box of the frame on the canvas."""
        x1, y1, x2, y2 = (round(float(value) * self.scale) for value in box)
        return x1 + self.left, y1 + self.top, x2 + self.left, y2 + self.top


def draw_tracks(canvas: Image, tracks: Iterable[TrackSnapshot], *, fit: Fit | None = None) -> None:
    """Draw every track's box and plate; known people lie on top.

    Args:
        canvas: H×W×3 BGR uint8, changed in place.
        tracks: with boxes in pixels of the frame.
        fit: where the frame lies on the canvas.
    """
    height, width = canvas.shape[:2]
    size = text_size(width, height)
    fit = fit or Fit()
    ordered = sorted(tracks, key=lambda track: (track.identity.known, track.score))
    boxes = [fit.rect(track.box) for track in ordered]
    labels = [label_of(track) for track in ordered]
    line = max(round(size / 9), 1)
    for box, label in zip(boxes, labels, strict=True):
        corner = (box[2] - 1, box[3] - 1)
        # A dark rim keeps the box visible on a bright ground.
        cv2.rectangle(canvas, box[:2], corner, (0, 0, 0), line + 2, cv2.LINE_AA)
        cv2.rectangle(canvas, box[:2], corner, label.colour, line, cv2.LINE_AA)
    # Plates are placed with the most important first, so that it gets the best place.
    room, plates = (width, height), list[Rect]()
    for index in reversed(range(len(ordered))):
        others = boxes[:index] + boxes[index + 1 :]
        rect, picture = _placed(labels[index], boxes[index], room, size, plates, others)
        if picture is not None:
            canvas[rect[1] : rect[3], rect[0] : rect[2]] = picture
            plates.append(rect)


def text_size(width: int, height: int) -> int:
    """Height of the text in pixels for a picture of this size: 14 at 360p, 32 at 1080p."""
    return int(np.clip(round(min(width, height) / 40 + 5), 10, 72))


def label_of(track: TrackSnapshot) -> Label:
    """What a track's plate says: the name, how similar, how uncertain."""
    identity = track.identity
    if identity.reason == "pending":
        return Label("…", "", PENDING)
    detail = "" if identity.reason == "no_gallery" else f"{max(identity.similarity, 0):.2f}"
    if np.isfinite(track.sigma):
        detail += f" σ{track.sigma:.2f}"
    if identity.known:
        return Label(identity.name or "", detail.strip(), KNOWN)
    return Label("unknown", detail.strip(), UNKNOWN)


def _placed(
    label: Label,
    box: Rect,
    room: tuple[int, int],
    size: int,
    plates: Sequence[Rect],
    faces: Sequence[Rect],
) -> tuple[Rect, Image | None]:
    """Where a plate covers neither a plate nor another face; else the name alone; a known name
    over a face if there is no other place."""
    short = Label(label.name, "", label.colour)
    tries = [(label, (*plates, *faces)), (short, (*plates, *faces))]
    if label.colour == KNOWN:
        tries.append((short, tuple(plates)))
    for shown, avoid in tries:
        picture = plate(shown, size, room[0])
        height, width = picture.shape[:2]
        if height > room[1]:
            break
        for rect in places(box, (width, height), room):
            if not any(_overlap(rect, other) for other in avoid):
                return rect, picture
    return box, None


def places(box: Rect, plate_size: tuple[int, int], room: tuple[int, int]) -> list[Rect]:
    """Places for a plate, best first, all inside the picture.

    Args:
        box: the face.
        plate_size: width and height of the plate, no larger than ``room``.
        room: width and height of the picture.
    """
    width, height = plate_size
    left = min(max(box[0], 0), room[0] - width)
    right = min(max(box[2] - width, 0), room[0] - width)
    found = []
    tops = [box[1] - height, box[3]]
    if box[3] - box[1] >= 4 * height:
        # Inside its own box only where that leaves most of the face to be seen.
        tops += [box[1], box[3] - height]
    for top in tops:
        for x in (left, right):
            y = min(max(top, 0), room[1] - height)
            rect = (x, y, x + width, y + height)
            if y == top and rect not in found:
                found.append(rect)
    if not found:
        y = min(max(box[1] - height, 0), room[1] - height)
        found.append((left, y, left + width, y + height))
    return found


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
