"""MTCNN's kernels in C: which variant serves here, and its functions on arrays.

The extension is built where there is a C compiler (``setup.py``). It has one variant per
instruction set. All release the interpreter's lock and may be called from several threads.
"""

from __future__ import annotations

import logging
import time
from functools import cache, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...core.boxes import NmsMode, Rows
from ...core.types import Floats, Image
from .networks import Network
from .packing import packed_weights
from .proposals import Hits, Level

native: Any
try:
    from . import _kernels as native
except ImportError:  # not built, or for another machine
    native = None

log = logging.getLogger(__name__)

_NUMBER: Final[dict[Network, int]] = {"mtcnn_rnet": 1, "mtcnn_onet": 2}
_HEADS: Final[dict[Network, int]] = {"mtcnn_rnet": 5, "mtcnn_onet": 15}

# Outputs are padded to this many.
_BLOCK = 16

# Floats in a cache line.
_LINE = 16

# Variants differ by rounding, in log-odds and fractions of a side: by 1e-5.
_ALIKE = 1e-3


def missing() -> str | None:
    """Why there are no kernels here; None where there are."""
    if native is not None:
        return None
    return "the detector's kernels are not built: no C compiler at the installation"


def variants() -> list[str]:
    """The variants that this CPU runs, the widest first; none where they are not built."""
    names: list[str] = [] if native is None else native.variants()
    return names


@cache
def chosen() -> str:
    """The fastest variant that gives what plain C gives. Takes some ms the first time."""
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    windows = np.array([(0, 0, 90, 90), (10, 20, 60, 70), (-9, 30, 50, 89)])
    *wide, plain = (Kernels(name) for name in variants())
    expected = [plain.rnet(image, windows), plain.onet(image, windows)]
    best, least = "plain", np.inf
    for one in wide:
        found = [one.rnet(image, windows), one.onet(image, windows)]
        if not all(np.allclose(a, b, atol=_ALIKE) for a, b in zip(found, expected, strict=True)):
            log.warning("the detector's kernels for %s compute wrongly here: not used", one.variant)
            continue
        took = min(_seconds(partial(one.onet, image, windows)) for _ in range(3))
        if took < least:
            best, least = one.variant, took
    return best


def _seconds(job: partial[Any]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


class Kernels:
    """The three networks, resampling and suppression in C.

    Args:
        variant: one of ``variants()``.

    Raises:
        ModelError: a network's file is missing or damaged.
    """

    def __init__(self, variant: str) -> None:
        self.variant = variant

    def cells(
        self,
        image: Image | Floats,
        level: Level,
        threshold: float,
        rows: tuple[int, int] | None = None,
    ) -> Hits:
        """P-Net: the cells of a level that score at least ``threshold`` (log-odds).

        Args:
            image: H×W×3 uint8, which is brought to the level's size, or the level itself as
                float32.
            level: its size and border.
            threshold: −inf gives all cells, row by row.
            rows: first and one past the last row of cells, from ``cells_of``; None: all.
        """
        height, width = cells_of(level)
        if height < 1 or width < 1:
            return Hits(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 5), np.float32))
        first, last = rows or (0, height)
        most = max(last - first, 0) * width
        places, values = np.empty(most, np.int32), np.empty((most, 5), np.float32)
        image = _picture(image)
        found = native.cells(
            *(self.variant, _weights("mtcnn_pnet"), image, *image.shape[:2]),
            *(image.dtype == np.float32, level.height, level.width, level.border),
            *(first, last, threshold, places, values),
        )
        down, across = np.divmod(places[:found].astype(np.int64), width)
        return Hits(down, across, values[:found].copy())

    def rnet(self, image: Image | Floats, windows: NDArray[Any] | None = None) -> Floats:
        """R-Net's heads N×5.

        Args:
            image: H×W×3 uint8, or the crops N×24×24×3 as float32.
            windows: N×4, x1, y1 and one past x2, y2, not empty; may reach beyond the picture.
        """
        return self._heads("mtcnn_rnet", image, windows)

    def onet(self, image: Image | Floats, windows: NDArray[Any] | None = None) -> Floats:
        """O-Net's heads N×15, of crops of 48×48; see ``rnet``."""
        return self._heads("mtcnn_onet", image, windows)

    def _heads(
        self, network: Network, image: Image | Floats, windows: NDArray[Any] | None
    ) -> Floats:
        if windows is not None:
            windows = _windows(windows)
        count = len(image if windows is None else windows)
        heads = np.empty((count, _BLOCK), np.float32)
        if count:
            image = _picture(image)
            native.heads(
                *(self.variant, _NUMBER[network], _weights(network)),
                *(image, *image.shape[:2], windows, heads),
            )
        return heads[:, : _HEADS[network]]

    def level(self, image: Image, level: Level) -> Floats:
        """The picture at a level's size with its border, height×width×3."""
        result = np.empty((*level.shape, 3), np.float32)
        image = _picture(image)
        size = (level.height, level.width, level.border)
        native.level(self.variant, image, *image.shape[:2], *size, result)
        return result

    def crops(self, image: Image, windows: NDArray[Any], side: int) -> Floats:
        """Windows N×4 of the picture, N×side×side×3; ``side`` is 24 or 48."""
        result = np.empty((len(windows), side, side, 3), np.float32)
        image = _picture(image)
        native.crops(self.variant, image, *image.shape[:2], _windows(windows), side, result)
        return result

    def nms(
        self, boxes: NDArray[Any], scores: NDArray[Any], threshold: float, mode: NmsMode = "union"
    ) -> Rows:
        """``core.boxes.nms``, to the bit."""
        scores = np.ascontiguousarray(scores, np.float32)
        keep = np.empty(len(scores), np.int32)
        boxes = np.ascontiguousarray(boxes, np.float32)
        kept = native.nms(self.variant, boxes, scores, threshold, mode == "min", keep)
        return keep[:kept].astype(np.int64)


def cells_of(level: Level) -> tuple[int, int]:
    """Rows and columns of P-Net's cells on a level; below 1 where it is too small."""
    height, width = level.shape
    return (height - 1) // 2 - 4, (width - 1) // 2 - 4


def _picture(image: NDArray[Any]) -> NDArray[Any]:
    dtype = np.float32 if image.dtype == np.float32 else np.uint8
    if image.dtype != dtype:
        raise ValueError(f"a picture is uint8 or float32, not {image.dtype}")
    return np.ascontiguousarray(image)


def _windows(windows: NDArray[Any]) -> NDArray[np.int32]:
    # Beyond 32 bits nothing is a window.
    limits = np.iinfo(np.int32)
    return np.ascontiguousarray(np.clip(windows, limits.min, limits.max), np.int32)


@cache
def _weights(network: Network) -> Floats:
    """Packed, at the start of a cache line: half of all loads would else touch two."""
    packed = packed_weights(network)
    room = np.empty(len(packed) + _LINE, np.float32)
    start = -room.ctypes.data % (4 * _LINE) // 4
    aligned = room[start : start + len(packed)]
    aligned[:] = packed
    return aligned
