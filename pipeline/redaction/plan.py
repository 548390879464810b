"""What is covered in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.types import Floats
from .choice import RedactionChoice
from .lines import Line, LinePart
from .naming import names_of
from .search import VideoFaces

# The middle of a head lies above that of its face's box, by this share of its height.
_UP = 0.06
# Pixels: boxes of small faces are off by more of their size.
_MORE = 2.0
NONE: Floats = np.zeros((0, 4), np.float32)


class Plan:
    """The covers of a video.

    Args:
        found: the faces.
        parts: of them, named; empty where everybody is covered.
        choice: whose faces are covered.
        margin: see `RedactionOptions`.

    Attributes:
        times: of all frames, in seconds.
        covered: by line, the frames in which it is covered.
    """

    def __init__(
        self,
        found: VideoFaces,
        parts: Sequence[LinePart],
        choice: RedactionChoice,
        *,
        margin: float,
    ) -> None:
        self._margin = margin
        self.times = found.times
        self._by_frame: dict[int, list[Floats]] = {}
        self.covered: dict[Line, set[int]] = {
            line: set(line.boxes) if choice.everybody else set() for line in found.lines
        }
        names = names_of(parts)
        for part in parts:
            self.covered[part.line].update(
                frame
                for frame in part.line.boxes
                if part.frames[0] <= frame <= part.frames[1]
                and choice.covers(
                    part.name_at(frame),
                    "unsure" if part.name_at(frame) != part.name else part.verdict,
                    followed_as=names[part.line],
                )
            )
        for line, frames in self.covered.items():
            for frame in frames:
                boxes = line.cover(frame), line.coasted.get(frame)
                self._by_frame.setdefault(frame, []).extend(b for b in boxes if b is not None)

    @property
    def frames(self) -> int:
        """How many frames have a cover."""
        return len(self._by_frame)

    def faces(self, frame: int) -> Floats:
        """The boxes N×4 of the faces that are covered in a frame, upright."""
        boxes = self._by_frame.get(frame)
        return NONE if boxes is None else np.stack(boxes).astype(np.float32)

    def covers(self, frame: int) -> Floats:
        """The boxes N×4 around the ellipses that cover them: the whole head."""
        return head_boxes(self.faces(frame), self._margin)


def head_boxes(boxes: Floats, margin: float) -> Floats:
    """Boxes N×4 around the ellipses that cover faces with these boxes N×4."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    middle = middle - half * np.array([0, 2 * _UP], np.float32)
    reach = half * margin + _MORE
    return np.concatenate([middle - reach, middle + reach], axis=1)
