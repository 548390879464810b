"""MTCNN's three networks by the kernels in C, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from facestream.engines.base import Array, BaseEngine, Engine, TensorSpec
from facestream.engines.checks import check_feeds
from facestream.engines.errors import InferenceError

from ...core.types import Floats, Image
from .kernels import Kernels, cells_of
from .networks import Network
from .proposals import Hits, Level
from .sampling import Ints
from .stages import ONET_SIDE, RNET_SIDE, SearchedPicture, Workers

# P-Net's work is cut into this many pieces a thread: fewer, and the last one is waited for; more,
# and what neighbours both compute costs more.
_PIECES = 5

_SHAPES: dict[Network, tuple[str, tuple[int | None, ...], str, tuple[int | None, ...]]] = {
    "mtcnn_pnet": ("image", (1, 3, None, None), "maps", (1, 5, None, None)),
    "mtcnn_rnet": ("crops", (None, 3, RNET_SIDE, RNET_SIDE), "heads", (None, 5)),
    "mtcnn_onet": ("crops", (None, 3, ONET_SIDE, ONET_SIDE), "heads", (None, 15)),
}


class KernelNetworks:
    """P-, R- and O-Net in C; see ``Stages``."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels, self._closed = kernels, False
        self.engines: dict[str, Engine] = {name: KernelEngine(kernels, name) for name in _SHAPES}

    def look(self, image: Image) -> SearchedPicture:
        if self._closed:
            raise InferenceError("the detector is closed")
        return _KernelPicture(self._kernels, image)

    def close(self) -> None:
        self._closed = True
        for engine in self.engines.values():
            engine.close()


class _KernelPicture:
    """See ``SearchedPicture``. Each call works on memory of its own."""

    pieces = 3

    def __init__(self, kernels: Kernels, image: Image) -> None:
        self._kernels, self._image = kernels, np.ascontiguousarray(image)
        self.size: tuple[int, int] = image.shape[:2]
        self.nms = kernels.nms

    def cells(self, levels: Sequence[Level], threshold: float, workers: Workers) -> list[Hits]:
        bands = _bands(levels, 1 if workers.parts == 1 else workers.parts * _PIECES)

        def job(band: tuple[int, int, int]) -> Hits:
            level, *rows = band
            return self._kernels.cells(self._image, levels[level], threshold, (rows[0], rows[1]))

        found = workers.each(job, bands)
        return [
            Hits.join([hits for band, hits in zip(bands, found, strict=True) if band[0] == index])
            for index in range(len(levels))
        ]

    def rnet(self, windows: Ints, threshold: float) -> Floats:
        return self._kernels.rnet(self._image, windows)

    def onet(self, windows: Ints) -> Floats:
        return self._kernels.onet(self._image, windows)


def _bands(levels: Sequence[Level], pieces: int) -> list[tuple[int, int, int]]:
    """Level, first and one past the last row of cells: bands of about equal work, in order."""
    sizes = [cells_of(level) for level in levels]
    most = sum(height * width for height, width in sizes) / pieces
    bands = []
    for index, (height, width) in enumerate(sizes):
        count = max(1, round(height * width / most)) if pieces > 1 else 1
        # Bands begin on even rows (see native/networks.h).
        edges = [height * i // count // 2 * 2 for i in range(count)] + [height]
        bands += [(index, a, b) for a, b in pairwise(edges) if b > a]
    return bands


class KernelEngine(BaseEngine):
    """One of the networks; see ``Engine``."""

    backend, device, precision = "kernels", "CPU", "float32"

    def __init__(self, kernels: Kernels, network: Network) -> None:
        self._kernels, self._network, self._closed = kernels, network, False
        name, shape, output, result = _SHAPES[network]
        self.inputs = (TensorSpec(name, shape, np.dtype(np.float32)),)
        self.outputs = (TensorSpec(output, result, np.dtype(np.float32)),)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Floats]:
        if self._closed:
            raise InferenceError(f"the engine of {self._network} is closed")
        check_feeds(self.inputs, feeds)
        pictures = feeds[self.inputs[0].name].transpose(0, 2, 3, 1)
        if self._network == "mtcnn_pnet":
            level = Level(1.0, *pictures.shape[1:3])
            rows, columns = cells_of(level)
            if rows < 1 or columns < 1:
                raise InferenceError(f"a level of {level.shape} has no cells")
            values = self._kernels.cells(pictures[0], level, -np.inf).values
            result = values.T.reshape(1, 5, rows, columns)
        else:
            heads = self._kernels.rnet if self._network == "mtcnn_rnet" else self._kernels.onet
            result = heads(pictures)
        return {self.outputs[0].name: np.ascontiguousarray(result)}

    def close(self) -> None:
        self._closed = True
