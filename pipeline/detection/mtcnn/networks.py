"""MTCNN's three networks on an engine, with a cheap look before the exact one.

Which of several nearly equal boxes MTCNN returns hangs on the last digits of their scores: with
pictures rounded to 8 bits, or scores in bfloat16, one face in six comes out with another box.
So all that is returned is computed in float32. Where the CPU has bfloat16, P- and R-Net first
look at everything in that, and only what may pass is computed again: the tiles around P-Net's
likely cells and a third of R-Net's crops. That pays where bfloat16 is several times quicker than
float32 (AMX); on a Zen 4, where it is 1.6 times, it gains 5 % on pictures with few candidates and
nothing on crowds. A first look in int8 was no quicker there than in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import model_path
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.parity import Gate
from facestream.engines.serving import serve
from numpy.typing import NDArray

from ...core.types import Floats
from .atlas import AtlasMap, atlas_map, atlas_of
from .proposals import STRIDE, WINDOW, Hits, Level
from .sampling import AreaSampler, Ints
from .shapes import SHAPES

# How far below the threshold a score (log-odds) in bfloat16 may lie for a second look.
# Measured on 10,000 cells at or above it: bfloat16 is low by 0.14 in one of 100, by 0.21 in one
# of 1,000, by 0.36 at most.
MARGIN = 0.3

# The same for cells at the edge of a level with an odd side, which on an atlas see its last
# pixels twice: of 116 such cells two were low by more than 1.5, one by 2.4.
EDGE_MARGIN = 2.0

# Batches are of these sizes, so that engines meet few shapes.
_BATCHES = (64, 32, 16, 8, 4, 2, 1)

# What P-Net sees again are tiles of so many cells each way, and so many pixels.
_TILE_CELLS = 4
_TILE = (_TILE_CELLS - 1) * STRIDE + WINDOW

# Tiles are laid side by side, a multiple of this many.
_STRIP = 8


Network = Literal["mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"]


class Networks:
    """P-, R- and O-Net.

    Args:
        serving: what is to run them.
        screen: whether to look in bfloat16 first, where the CPU has it.
        gate: what a network must pass that is not OpenVINO's float32.
        streams: how many callers run them side by side.
    """

    def __init__(
        self, serving: Serving, *, screen: bool, gate: Callable[[Network], Gate], streams: int = 1
    ) -> None:
        exact = EngineOptions(precision="float32", streams=streams)
        auto = EngineOptions(streams=streams)
        self._pnet_screen: Engine | None = None
        self._rnet_screen: Engine | None = None
        with ExitStack() as opened:  # closes what was loaded if the next network fails

            def load(name: Network, options: EngineOptions) -> Engine:
                # What only screens is computed again in float32: it may be rounded.
                own_gate = gate(name) if options.precision == "float32" else None
                return opened.enter_context(
                    serve(
                        model_path(name),
                        serving=serving,
                        options=replace(options, shapes=SHAPES[name]),
                        gate=own_gate,
                    )
                )

            self._pnet = load("mtcnn_pnet", exact)
            self._rnet = load("mtcnn_rnet", exact)
            self._onet = load("mtcnn_onet", exact)
            # A plan takes whole levels, but no tiles of odd sizes, in batches and long strips.
            if screen and serving.backend != "tensorrt":
                pnet = load("mtcnn_pnet", auto)
                if pnet.precision != "float32":
                    self._pnet_screen = pnet
                    self._rnet_screen = load("mtcnn_rnet", auto)
            self._opened = opened.pop_all()

    @classmethod
    def of(cls, pnet: Engine, rnet: Engine, onet: Engine) -> Self:
        """Networks of these engines, exact and without a first look; ``close`` closes them too."""
        networks = cls.__new__(cls)
        networks._pnet, networks._rnet, networks._onet = pnet, rnet, onet
        networks._opened = ExitStack()
        for engine in (pnet, rnet, onet):
            networks._opened.enter_context(engine)
        networks._pnet_screen = networks._rnet_screen = None
        return networks

    def cells(self, sampler: AreaSampler, levels: Sequence[Level], threshold: float) -> list[Hits]:
        """P-Net: the cells of each level that score at least ``threshold`` (log-odds)."""
        if self._pnet_screen is None or not levels:
            pictures = (sampler.level(level.height, level.width) for level in levels)
            return [Hits.of_maps(_maps(self._pnet, picture), threshold) for picture in pictures]
        atlas = atlas_of(levels, least=_TILE)
        cells = atlas_map(atlas)
        picture = sampler.atlas(atlas)
        scores = _maps(self._pnet_screen, picture)[0].ravel()
        seen = np.flatnonzero(scores >= threshold - EDGE_MARGIN)
        close = (cells.edge_mask[seen] > 0) | (scores[seen] >= threshold - MARGIN)
        seen = seen[close & (cells.level[seen] >= 0)]
        rows, columns = np.divmod(seen, cells.columns)
        values = self._values(picture, rows, columns, cells.edge_mask[seen])
        stay = np.flatnonzero(values[:, 0] >= threshold)
        return _by_level(cells, seen[stay], values[stay])

    def rnet(self, crops: Floats, threshold: float) -> Floats:
        """R-Net's heads N×5; for what is below ``threshold`` (log-odds) they are rough."""
        if self._rnet_screen is None:
            return _run_batched(self._rnet, crops)
        heads = _run_filled(self._rnet_screen, crops)
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
        self._opened.close()

    @property
    def backend(self) -> str:
        """Backend that serves."""
        return self._pnet.backend

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name; those that only screen are named so."""
        found = {"mtcnn_pnet": self._pnet, "mtcnn_rnet": self._rnet, "mtcnn_onet": self._onet}
        if self._pnet_screen is not None and self._rnet_screen is not None:
            found["mtcnn_pnet_screen"] = self._pnet_screen
            found["mtcnn_rnet_screen"] = self._rnet_screen
        return found

    def _values(
        self, atlas: Floats, rows: Ints, columns: Ints, edge_mask: NDArray[np.uint8]
    ) -> Floats:
        """P-Net's values N×5 in float32 at these cells, from nothing but what they see.

        Args:
            atlas: 3×H×W.
            rows: of the cells, N.
            columns: of the cells, N.
            edge_mask: N; see ``AtlasMap``.
        """
        values = np.empty((len(rows), 5), np.float32)
        whole = np.flatnonzero(edge_mask == 0)
        values[whole] = self._tiled(atlas, rows[whole], columns[whole])
        # Where a side is odd the last window lacks a pixel, and pooling does without it.
        for kind in (1, 2, 3) if len(whole) < len(rows) else ():
            mine = np.flatnonzero(edge_mask == kind)
            size = (WINDOW - kind % 2, WINDOW - kind // 2)
            parts = _parts(atlas, rows[mine] * STRIDE, columns[mine] * STRIDE, size)
            if len(mine):
                values[mine] = _run_filled(self._pnet, parts)[:, :, 0, 0]
        return values

    def _tiled(self, atlas: Floats, rows: Ints, columns: Ints) -> Floats:
        """P-Net's values N×5 at these cells, computed for tiles of cells side by side.

        Hits that may be faces come in heaps, and share most of what they see. One long picture
        takes half the time of a batch of small ones. The cells that see parts of two tiles are
        computed for nothing.
        """
        if not len(rows):
            return np.zeros((0, 5), np.float32)
        across = atlas.shape[2] // _TILE_CELLS
        tiles, mine = np.unique(
            rows // _TILE_CELLS * across + columns // _TILE_CELLS, return_inverse=True
        )
        # The last tiles are moved back into the atlas.
        tops = np.minimum(tiles // across * _TILE_CELLS, (atlas.shape[1] - _TILE) // STRIDE)
        lefts = np.minimum(tiles % across * _TILE_CELLS, (atlas.shape[2] - _TILE) // STRIDE)
        parts = _parts(atlas, tops * STRIDE, lefts * STRIDE, (_TILE, _TILE))
        strip = np.zeros((3, _TILE, _filled(len(parts)), _TILE), np.float32)
        strip[:, :, : len(parts)] = parts.transpose(1, 2, 0, 3)
        maps = _maps(self._pnet, strip.reshape(3, _TILE, -1))
        columns = columns - lefts[mine] + mine * (_TILE // STRIDE)
        found: Floats = maps[:, rows - tops[mine], columns].T
        return found


def _maps(engine: Engine, level: Floats) -> Floats:
    maps: Floats = engine.infer({"image": level[None]})["maps"][0]
    return maps


def _parts(picture: Floats, tops: Ints, lefts: Ints, size: tuple[int, int]) -> Floats:
    """Parts N×3×h×w of a picture 3×H×W, all of this size."""
    views = np.lib.stride_tricks.sliding_window_view(picture, size, axis=(1, 2))
    return views.transpose(1, 2, 0, 3, 4)[tops, lefts]


def _by_level(cells: AtlasMap, places: Ints, values: Floats) -> list[Hits]:
    """Hits N of an atlas and their values N×5, level by level."""
    levels = cells.level[places]
    order = np.argsort(levels, kind="stable")
    bounds = np.searchsorted(levels[order], np.arange(len(cells.tops) + 1))
    rows, columns = np.divmod(places, cells.columns)
    return [
        Hits(rows[mine] - top, columns[mine] - left, values[mine])
        for mine, top, left in zip(
            (order[a:b] for a, b in pairwise(bounds.tolist())),
            cells.tops.tolist(),
            cells.lefts.tolist(),
            strict=True,
        )
    ]


def _filled(count: int) -> int:
    """Tiles in a strip that holds ``count``: few different numbers, none much larger."""
    step = max(_STRIP, 1 << max(count.bit_length() - 3, 0))
    return -(-count // step) * step


def _batches(count: int) -> list[range]:
    """``count`` pictures in batches of the usual sizes, none filled up: 35 are 32, 2 and 1."""
    batches = []
    start = 0
    while start < count:
        size = next(size for size in _BATCHES if size <= count - start)
        batches.append(range(start, start + size))
        start += size
    return batches


def _run_filled(engine: Engine, pictures: Floats) -> Floats:
    """As ``_run_batched``, for a quick network: fewer batches, the last with empty pictures."""
    count, most = len(pictures), _BATCHES[0]
    parts = [pictures[start : start + most] for start in range(0, count, most)]
    rest = len(parts[-1]) if parts else 0
    size = min(-(-rest // 8) * 8, 1 << max(rest - 1, 0).bit_length())
    if size > rest:
        parts[-1] = np.concatenate([parts[-1], np.zeros((size - rest, *pictures.shape[1:]), "f4")])
    results = [_run(engine, part) for part in parts]
    return np.concatenate(results)[:count]


def _run_batched(engine: Engine, pictures: NDArray[Any]) -> Floats:
    """The only output for pictures N×…."""
    if "cuda" in engine.device and len(pictures):  # its engines pad batches: one run costs less
        most = _BATCHES[0]
        batches = [range(start, start + most) for start in range(0, len(pictures), most)]
    else:
        batches = _batches(len(pictures))
    results = [_run(engine, pictures[batch.start : batch.stop]) for batch in batches]
    return results[0] if len(results) == 1 else np.concatenate(results)


def _run(engine: Engine, pictures: NDArray[Any]) -> Floats:
    result: Floats = engine.infer({engine.inputs[0].name: pictures})[engine.outputs[0].name]
    return result
