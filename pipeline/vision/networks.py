"""MTCNN's three networks on an engine, with a cheap look before the exact one.

Which of several nearly equal boxes MTCNN returns hangs on the last digits of their scores: with
pictures rounded to 8 bits, or scores in bfloat16, one face in six comes out with another box.
So all that is returned is computed in float32. Where the CPU has bfloat16, P- and R-Net first
look at everything in that, and only what may pass is computed again: 2 % of P-Net's windows and
a third of R-Net's crops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.engines.base import Engine
from facestream.engines.cards import model_path
from facestream.engines.registry import Backend, EngineOptions, load_engine

from ..types import Floats
from .proposals import STRIDE, WINDOW, Cells
from .sampling import Ints

# How far below the threshold a score (log-odds) in bfloat16 may lie for a second look.
# Measured on 10,000 cells at or above it: bfloat16 is low by 0.14 in one of 100, by 0.21 in one
# of 1,000, by 0.36 at most.
MARGIN = 0.3

# Batches are filled up to one of these sizes, so that engines meet few shapes.
_BATCHES = (4, 8, 16, 32, 64, 128, 256, 512)


class Networks:
    """P-, R- and O-Net.

    Args:
        backend: engine to run on.
        threads: CPU threads; None leaves the choice to the backend.
        screen: whether to look in bfloat16 first, ``auto`` where that is quicker.
    """

    def __init__(self, *, backend: Backend, threads: int | None, screen: bool) -> None:
        exact = EngineOptions(
            precision="float32", threads=threads, static_shapes=True, max_shapes=32
        )
        auto = EngineOptions(threads=threads, static_shapes=True, max_shapes=32)
        self.pnet = _load("mtcnn_pnet", backend, exact)
        self._rnet = _load("mtcnn_rnet", backend, exact)
        self._onet = _load("mtcnn_onet", backend, exact)
        self._engines = [self.pnet, self._rnet, self._onet]
        self._pnet_screen: Engine | None = None
        self._rnet_screen: Engine | None = None
        if screen:
            pnet = _load("mtcnn_pnet", backend, auto)
            self._engines.append(pnet)
            if pnet.precision != "float32":
                self._pnet_screen = pnet
                self._rnet_screen = _load("mtcnn_rnet", backend, auto)
                self._engines.append(self._rnet_screen)

    def cells(self, level: Floats, threshold: float) -> Cells:
        """P-Net: the cells of a pyramid level that score at least ``threshold`` (log-odds).

        Args:
            level: 3×H×W, 0..255.
            threshold: log-odds.
        """
        if self._pnet_screen is None:
            return Cells.of_maps(_maps(self.pnet, level), threshold)
        seen = Cells.of_maps(_maps(self._pnet_screen, level), threshold - MARGIN)
        return self._verified(level, seen, threshold)

    def rnet(self, crops: Floats, threshold: float) -> Floats:
        """R-Net's heads N×5; for what is below ``threshold`` (log-odds) they are rough."""
        if self._rnet_screen is None:
            return _run_batched(self._rnet, crops)
        heads = _run_batched(self._rnet_screen, crops)
        again = np.flatnonzero(heads[:, 0] > threshold - MARGIN)
        if len(again):
            heads[again] = _run_batched(self._rnet, crops[again])
        # A second look may have lowered a score, never the first one alone passed it.
        return heads

    def onet(self, crops: Floats) -> Floats:
        """O-Net's heads N×15."""
        return _run_batched(self._onet, crops)

    def close(self) -> None:
        """Free the networks."""
        for engine in self._engines:
            engine.close()

    def _verified(self, level: Floats, seen: Cells, threshold: float) -> Cells:
        """The same cells by float32, each from its own window of the level."""
        values = np.empty((len(seen), 5), np.float32)
        height, width = level.shape[1:]
        # Where a side is odd the last window lacks its last pixel, and pooling goes on without.
        short_rows = seen.rows * STRIDE + WINDOW > height
        short_columns = seen.columns * STRIDE + WINDOW > width
        for rows_lack in (0, 1):
            for columns_lack in (0, 1):
                mine = np.flatnonzero(
                    (short_rows == rows_lack) & (short_columns == columns_lack)
                )
                if len(mine):
                    window = (WINDOW - rows_lack, WINDOW - columns_lack)
                    patches = _patches(level, seen.rows[mine], seen.columns[mine], window)
                    values[mine] = _run_batched(self.pnet, patches)[:, :, 0, 0]
        stay = values[:, 0] >= threshold
        return Cells(seen.rows[stay], seen.columns[stay], values[stay])


def _maps(engine: Engine, level: Floats) -> Floats:
    return engine.infer({"image": level[None]})["maps"][0]


def _patches(level: Floats, rows: Ints, columns: Ints, window: tuple[int, int]) -> Floats:
    """P-Net's windows at these cells, N×3×h×w."""
    views = np.lib.stride_tricks.sliding_window_view(level, window, axis=(1, 2))
    patches = views[:, rows * STRIDE, columns * STRIDE]
    return np.ascontiguousarray(patches.transpose(1, 0, 2, 3))


def _load(name: str, backend: Backend, options: EngineOptions) -> Engine:
    return load_engine(model_path(name), backend=backend, options=options)


def _run_batched(engine: Engine, pictures: NDArray[Any]) -> Floats:
    """The only output, for pictures N×…, in batches of the usual sizes."""
    largest = _BATCHES[-1]
    source, target = engine.inputs[0].name, engine.outputs[0].name
    results = []
    for start in range(0, len(pictures), largest):
        part = pictures[start : start + largest]
        room = next(size for size in _BATCHES if size >= len(part))
        if room > len(part):
            batch = np.zeros((room, *pictures.shape[1:]), pictures.dtype)
            batch[: len(part)] = part
        else:
            batch = part
        results.append(engine.infer({source: batch})[target][: len(part)])
    return results[0] if len(results) == 1 else np.concatenate(results)
