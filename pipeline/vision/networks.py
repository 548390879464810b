"""MTCNN's three networks on an engine, with a cheap look before the exact one.

Which of several nearly equal boxes MTCNN returns hangs on the last digits of their scores: with
pictures rounded to 8 bits, or scores in bfloat16, one face in six comes out with another box.
So all that is returned is computed in float32. Where the CPU has bfloat16, P- and R-Net first
look at everything in that, and only what may pass is computed again: 2 % of P-Net's windows and
a third of R-Net's crops. That pays where bfloat16 is several times quicker than float32 (AMX);
on a Zen 4, where it is 1.6 times, it gains 5 % on pictures with few candidates and nothing on
crowds. A first look in int8 was no quicker there than in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import model_path
from facestream.engines.registry import Backend, EngineOptions, load_engine
from numpy.typing import NDArray

from ..types import Floats
from .proposals import STRIDE, WINDOW, Cells
from .sampling import Ints

# How far below the threshold a score (log-odds) in bfloat16 may lie for a second look.
# Measured on 10,000 cells at or above it: bfloat16 is low by 0.14 in one of 100, by 0.21 in one
# of 1,000, by 0.36 at most.
MARGIN = 0.3

# Batches are of these sizes, so that engines meet few shapes.
_BATCHES = (256, 128, 64, 32, 16, 8, 4, 2, 1)

# Windows that P-Net sees again are laid side by side, this many at least.
_STRIP = 32


class Networks:
    """P-, R- and O-Net.

    Args:
        backend: engine to run on.
        threads: CPU threads; None leaves the choice to the backend.
        screen: whether to look in bfloat16 first, where the CPU has it.
    """

    def __init__(self, *, backend: Backend, threads: int | None, screen: bool) -> None:
        exact = EngineOptions(
            precision="float32", threads=threads, static_shapes=True, max_shapes=32
        )
        auto = EngineOptions(threads=threads, static_shapes=True, max_shapes=32)
        self._pnet = _load("mtcnn_pnet", backend, exact)
        self._rnet = _load("mtcnn_rnet", backend, exact)
        self._onet = _load("mtcnn_onet", backend, exact)
        self._engines = [self._pnet, self._rnet, self._onet]
        self._pnet_screen: Engine | None = None
        self._rnet_screen: Engine | None = None
        if screen:
            pnet = _load("mtcnn_pnet", backend, auto)
            self._engines.append(pnet)
            if pnet.precision != "float32":
                self._pnet_screen = pnet
                self._rnet_screen = _load("mtcnn_rnet", backend, auto)
                self._engines.append(self._rnet_screen)

    def cells(self, levels: Sequence[Floats], threshold: float) -> list[Cells]:
        """P-Net: the cells of each level that score at least ``threshold``.

        Args:
            levels: pictures 3×H×W, 0..255.
            threshold: log-odds.
        """
        if self._pnet_screen is None:
            return [Cells.of_maps(_maps(self._pnet, level), threshold) for level in levels]
        seen = [
            Cells.of_maps(_maps(self._pnet_screen, level), threshold - MARGIN) for level in levels
        ]
        values = self._values(levels, seen)
        kept = []
        for cells in seen:
            mine, values = values[: len(cells)], values[len(cells) :]
            stay = mine[:, 0] >= threshold
            kept.append(Cells(cells.rows[stay], cells.columns[stay], mine[stay]))
        return kept

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

    @property
    def backend(self) -> str:
        """Backend that serves."""
        return self._pnet.backend

    def _values(self, levels: Sequence[Floats], seen: Sequence[Cells]) -> Floats:
        """P-Net's values N×5 at all these cells in float32, each from its window alone."""
        windows: dict[tuple[int, int], list[Floats]] = {}
        places: dict[tuple[int, int], list[Ints]] = {}
        start = 0
        for level, cells in zip(levels, seen, strict=True):
            # Where a side is odd the last window lacks a pixel, and pooling does without it.
            lack_rows = cells.rows * STRIDE + WINDOW > level.shape[1]
            lack_columns = cells.columns * STRIDE + WINDOW > level.shape[2]
            for lack in ((0, 0), (0, 1), (1, 0), (1, 1)):
                mine = np.flatnonzero((lack_rows == lack[0]) & (lack_columns == lack[1]))
                if len(mine):
                    size = (WINDOW - lack[0], WINDOW - lack[1])
                    cut = _windows(level, cells.rows[mine], cells.columns[mine], size)
                    windows.setdefault(size, []).append(cut)
                    places.setdefault(size, []).append(mine + start)
            start += len(cells)
        values = np.empty((start, 5), np.float32)
        for size, parts in windows.items():
            strip = np.concatenate(parts, axis=2)
            values[np.concatenate(places[size])] = self._along(strip, size[1])
        return values

    def _along(self, strip: Floats, width: int) -> Floats:
        """P-Net's values N×5 for windows side by side, 3×h×N×width.

        One long picture takes half the time of a batch of small ones. The cells that see parts
        of two windows are computed for nothing.
        """
        count = strip.shape[2]
        if width % STRIDE:
            return _run_batched(self._pnet, np.ascontiguousarray(strip.transpose(2, 0, 1, 3)))[
                :, :, 0, 0
            ]
        found = []
        for part in _batches(-(-count // _STRIP)):
            chunk = strip[:, :, part.start * _STRIP : part.stop * _STRIP]
            picture = np.zeros((1, *strip.shape[:2], len(part) * _STRIP, width), np.float32)
            picture[0, :, :, : chunk.shape[2]] = chunk
            maps = _maps(self._pnet, picture.reshape(*picture.shape[1:3], -1))
            found.append(maps[:, 0, :: width // STRIDE][:, : chunk.shape[2]].T)
        return np.concatenate(found)


def _maps(engine: Engine, level: Floats) -> Floats:
    maps: Floats = engine.infer({"image": level[None]})["maps"][0]
    return maps


def _windows(level: Floats, rows: Ints, columns: Ints, size: tuple[int, int]) -> Floats:
    """P-Net's windows at these cells, 3×h×N×w."""
    views = np.lib.stride_tricks.sliding_window_view(level, size, axis=(1, 2))
    return views[:, rows * STRIDE, columns * STRIDE].transpose(0, 2, 1, 3)


def _load(name: str, backend: Backend, options: EngineOptions) -> Engine:
    return load_engine(model_path(name), backend=backend, options=options)


def _batches(count: int) -> list[range]:
    """``count`` pictures in batches of the usual sizes, none filled up: 35 are 32, 2 and 1."""
    batches = []
    start = 0
    while start < count:
        size = next(size for size in _BATCHES if size <= count - start)
        batches.append(range(start, start + size))
        start += size
    return batches


def _run_batched(engine: Engine, pictures: NDArray[Any]) -> Floats:
    """The only output for pictures N×…."""
    source, target = engine.inputs[0].name, engine.outputs[0].name
    results = [
        engine.infer({source: pictures[batch.start : batch.stop]})[target]
        for batch in _batches(len(pictures))
    ]
    return results[0] if len(results) == 1 else np.concatenate(results)
