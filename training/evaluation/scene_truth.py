"""Ground truth of a rendered scene: who walks through it, where, and how much of the face shows.

Each frame of a scene carries its own number as black and white squares, so that frames can be
identified after a detour, over a network for instance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.pipeline.core.types import Floats, Image
from numpy.typing import NDArray

from ..errors import DataError

Ints = NDArray[np.int64]

_BITS: Final = 12
_SQUARE: Final = 12  # px: survives H.264 and chroma at half size
# Bright and dark as video levels allow, with the noise of the picture around them.
_LEVELS: Final = (24, 232)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A scene of F frames with P passages; a passage is one person's way through the picture.

    Attributes:
        fps: frames a second.
        frames: F.
        size: width and height in pixels.
        names: P, whose passage it is. A person may come again.
        enrolled: P, True where that person is in the gallery.
        frame: M, the frame of each place, ascending.
        passage: M, row of ``names``.
        boxes: M×4, the face; may reach beyond the picture.
        visible: M, share of the box that lies in the picture and behind nobody else, 0..1.
    """

    fps: float
    frames: int
    size: tuple[int, int]
    names: tuple[str, ...]
    enrolled: tuple[bool, ...]
    frame: Ints
    passage: Ints
    boxes: Floats
    visible: Floats

    def rows(self, frame: int) -> slice:
        """The places of one frame."""
        first, last = np.searchsorted(self.frame, [frame, frame + 1])
        return slice(int(first), int(last))

    def in_full_view(self, passage: int, *, least: float = 0.999) -> int | None:
        """First frame in which a passage shows its whole face; None if it never does."""
        there = (self.passage == passage) & (self.visible >= least)
        return int(self.frame[there][0]) if there.any() else None

    def save(self, file: Path) -> None:
        """As JSON."""
        table = {
            "fps": self.fps,
            "frames": self.frames,
            "size": self.size,
            "names": self.names,
            "enrolled": self.enrolled,
            "frame": self.frame.tolist(),
            "passage": self.passage.tolist(),
            "boxes": np.round(self.boxes.astype(np.float64), 1).tolist(),
            "visible": np.round(self.visible.astype(np.float64), 4).tolist(),
        }
        partial = file.with_name(f".{file.name}")
        partial.write_text(json.dumps(table), encoding="utf-8")
        partial.replace(file)

    @classmethod
    def load(cls, file: Path) -> Truth:
        """What ``save`` wrote.

        Raises:
            DataError: it is missing or something else.
        """
        try:
            table = json.loads(file.read_text(encoding="utf-8"))
            width, height = table["size"]
            return cls(
                fps=float(table["fps"]),
                frames=int(table["frames"]),
                size=(int(width), int(height)),
                names=tuple(table["names"]),
                enrolled=tuple(table["enrolled"]),
                frame=np.array(table["frame"], np.int64),
                passage=np.array(table["passage"], np.int64),
                boxes=np.array(table["boxes"], np.float32).reshape(-1, 4),
                visible=np.array(table["visible"], np.float32),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is not the truth of a scene ({error}); render it") from error


def stamp(image: Image, number: int) -> None:
    """Write a frame's number into the lower left corner.

    Args:
        image: H×W×3 uint8, changed.
        number: 0 to 4095.

    Raises:
        ValueError: the number is out of that range.
    """
    if not 0 <= number < 1 << _BITS:
        raise ValueError(f"a frame's number must be from 0 to {(1 << _BITS) - 1}, not {number}")
    for place, bit in enumerate(_bits(number)):
        left = place * _SQUARE
        image[-_SQUARE:, left : left + _SQUARE] = _LEVELS[bit]


def read_stamp(image: Image) -> int | None:
    """The number that ``stamp`` wrote, None where there is none or it is damaged.

    Args:
        image: H×W×3 uint8, as it was decoded.
    """
    width = (_BITS + 3) * _SQUARE
    if image.shape[0] < _SQUARE or image.shape[1] < width:
        return None
    inner = image[-_SQUARE + 3 : -3, :width].reshape(_SQUARE - 6, _BITS + 3, _SQUARE, 3)
    bright = inner[:, :, 3:-3].mean(axis=(0, 2, 3)) > sum(_LEVELS) / 2
    number = int(sum(1 << place for place in range(_BITS) if bright[place]))
    return number if _bits(number) == [int(bit) for bit in bright] else None


def _bits(number: int) -> list[int]:
    """The number, lowest bit first, and a check: a bright square, a dark one, the parity."""
    bits = [number >> place & 1 for place in range(_BITS)]
    return [*bits, 1, 0, sum(bits) % 2]
