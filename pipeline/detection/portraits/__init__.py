"""Two public-domain portraits (see NOTICE.md) and where their faces are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.errors import ModelError

from ...core.types import Floats, Image

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A picture with one face.

    Attributes:
        image: 208×208×3 BGR uint8.
        landmarks: 1×5×2, as the float32 cascade found them; fixed, so that crops stay the same
            whatever becomes of the detector.
    """

    image: Image
    landmarks: Floats


# x and y of the five landmarks, in order.
_LANDMARKS: Final = {
    "astronaut": (86.82, 91.02, 125.53, 92.72, 106.34, 115.74, 84.65, 125.57, 124.33, 127.35),
    "hopper": (91.39, 81.19, 126.26, 79.29, 109.53, 101.53, 94.60, 118.29, 127.12, 116.65),
}


@cache
def portraits() -> tuple[Portrait, ...]:
    """The portraits that ship. Raises ModelError if one is missing or damaged."""
    return tuple(_read(name) for name in _LANDMARKS)


def _read(name: str) -> Portrait:
    path = _FOLDER / f"{name}.jpg"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ModelError(f"the parity gate's picture {path} is missing or damaged; reinstall")
    image.setflags(write=False)
    landmarks = np.array(_LANDMARKS[name], np.float32).reshape(1, 5, 2)
    return Portrait(np.asarray(image, np.uint8), landmarks)
