"""Holes in aligned faces: repair fills them, training makes them.

A hole is a 112×112 bool array, True where the picture is missing or wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..models.backbones import INPUT_SIZE

Hole = NDArray[np.bool_]
Region = Literal["mouth", "eyes", "lower", "upper", "left", "right"]
REGIONS: Final[tuple[Region, ...]] = get_args(Region)
HoleKind = Literal["box", "lower", "half"]
KINDS: Final[tuple[HoleKind, ...]] = get_args(HoleKind)
# (x1, y1, x2, y2) in the 112×112 template, whose eyes lie at y = 52 and mouth at y = 92.
_REGION: Final[dict[Region, tuple[int, int, int, int]]] = {
    "mouth": (30, 78, 82, 108),
    "eyes": (18, 38, 94, 64),
    "lower": (0, 66, 112, 112),
    "upper": (0, 0, 112, 56),
    "left": (0, 0, 56, 112),
    "right": (56, 0, 112, 112),
}


def box_hole(x1: int, y1: int, x2: int, y2: int) -> Hole:
    """A rectangle, in pixels of the 112×112 face; the part outside of it is cut off.

    Raises:
        ValueError: nothing of it lies inside the picture.
    """
    left, top = max(0, x1), max(0, y1)
    right, bottom = min(INPUT_SIZE, x2), min(INPUT_SIZE, y2)
    if left >= right or top >= bottom:
        raise ValueError(
            f"the box {x1},{y1},{x2},{y2} covers nothing of the {INPUT_SIZE}×{INPUT_SIZE} face; "
            "give x1,y1,x2,y2 with x1 < x2 and y1 < y2"
        )
    hole = np.zeros((INPUT_SIZE, INPUT_SIZE), np.bool_)
    hole[top:bottom, left:right] = True
    return hole


def region_hole(region: Region) -> Hole:
    """A named part of the face; left and right as seen in the picture.

    Raises:
        ValueError: no part of that name.
    """
    if region not in _REGION:
        raise ValueError(f"no region is called {region!r}; choose from {', '.join(REGIONS)}")
    return box_hole(*_REGION[region])


def hole_of_kind(kind: HoleKind, rng: np.random.Generator) -> Hole:
    """A hole of the kinds that repair is measured on.

    ``box``: an occluder of 8 to 25 % of the picture somewhere over the face; ``lower``: what a
    face mask hides, from below the eyes down; ``half``: the left or right half.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _BY_KIND:
        raise ValueError(f"no hole is called {kind!r}; choose from {', '.join(KINDS)}")
    return _BY_KIND[kind](rng)


def random_hole(rng: np.random.Generator) -> Hole:
    """A hole for training: boxes of all sizes, face masks, halves, eyes and mouth."""
    draw = rng.random()
    if draw < 0.45:
        return _box(rng)
    if draw < 0.65:
        return _lower(rng)
    if draw < 0.85:
        return _half(rng)
    return region_hole(REGIONS[int(rng.integers(len(REGIONS)))])


def _box(rng: np.random.Generator) -> Hole:
    area = rng.uniform(0.08, 0.25) * INPUT_SIZE**2
    aspect = float(np.exp(rng.uniform(-0.6, 0.6)))
    height = int(np.clip(np.sqrt(area * aspect), 8, INPUT_SIZE))
    width = int(np.clip(area / height, 8, INPUT_SIZE))
    # Its centre lies on the face, not on the background around it.
    x, y = (int(rng.integers(30, INPUT_SIZE - 30)) for _ in range(2))
    left = int(np.clip(x - width // 2, 0, INPUT_SIZE - width))
    top = int(np.clip(y - height // 2, 0, INPUT_SIZE - height))
    return box_hole(left, top, left + width, top + height)


def _lower(rng: np.random.Generator) -> Hole:
    return box_hole(0, int(rng.integers(60, 73)), INPUT_SIZE, INPUT_SIZE)


def _half(rng: np.random.Generator) -> Hole:
    edge = int(rng.integers(50, 63))
    if rng.random() < 0.5:
        return box_hole(0, 0, edge, INPUT_SIZE)
    return box_hole(edge, 0, INPUT_SIZE, INPUT_SIZE)


_BY_KIND: Final[dict[HoleKind, Callable[[np.random.Generator], Hole]]] = {
    "box": _box,
    "lower": _lower,
    "half": _half,
}
