"""MTCNN's three networks on an engine, with a cheap screen before the exact one.

Which of several nearly equal boxes MTCNN returns hangs on the last digits of their scores: with
pictures rounded to 8 bits, or scores in bfloat16, one face in six comes out with another box.
So all that is returned is computed in float32. Where the CPU has bfloat16, P- and R-Net first
run on everything in that, and only what may pass is computed again: the tiles around P-Net's
likely cells and a third of R-Net's crops. That pays where bfloat16 is several times quicker than
float32 (AMX); on a Zen 4, where it is 1.6 times, it gains 5 % on pictures with few candidates and
nothing on crowds. A screen in int8 was no quicker there than in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from facestream.engines.base import Engine, Precision
from facestream.engines.cards import model_path
from facestream.engines.options import EngineOptions, Serving, ShapeRange
from facestream.engines.parity import Gate
from facestream.engines.serving import serve
from numpy.typing import NDArray

from ...core.boxes import nms
from ...core.types import Floats, Image
from .atlas import AtlasMap, atlas_map, atlas_of
from .proposals import STRIDE, WINDOW, Hits, Level
from .sampling import AreaSampler, Ints
from .stages import ONET_SIDE, RNET_SIDE, SearchedPicture, Workers

# How far below the threshold a score (log-odds) in bfloat16 may lie to be computed again.
# Measured on 10,000 cells at or above it: bfloat16 is low by 0.14 in one of 100, by 0.21 in one
# of 1,000, by 0.36 at most.
MARGIN = 0.3

# The same for cells at the edge of a level with an odd side, which on an atlas see its last
# pixels twice: of 116 such cells two were low by more than 1.5, one by 2.4.
EDGE_MARGIN = 2.0

# Batches of R- and O-Net are of these sizes, so that engines meet few shapes.
_BATCHES = (64, 32, 16, 8, 4, 2, 1)

# Longest side of a level of the pyramid that a plan takes: a 4K picture searched down to 12
# pixels, or a photo of 24 megapixels down to 18.
LONGEST: Final = 4096

Network = Literal["mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"]

SHAPES: Final[dict[Network, ShapeRange]] = {
    # One level at a time. Usual is the largest level of a 1080p frame searched down to 40 pixels.
    "mtcnn_pnet": ShapeRange((1, 3, 12, 12), (1, 3, 324, 576), (1, 3, LONGEST, LONGEST)),
    "mtcnn_rnet": ShapeRange((1, 3, 24, 24), (64, 3, 24, 24), (64, 3, 24, 24), _BATCHES[::-1]),
    "mtcnn_onet": ShapeRange((1, 3, 48, 48), (16, 3, 48, 48), (64, 3, 48, 48), _BATCHES[::-1]),
}
"""By network, the shapes N×3×H×W it is fed in: what plans for it are built for."""

# P-Net runs again on tiles of this many cells each way, and this many pixels.
_TILE_CELLS = 4
_TILE = (_TILE_CELLS - 1) * STRIDE + WINDOW

# Tiles are laid side by side, a multiple of this many.
_STRIP = 8


class Networks:
    """P-, R- and O-Net.

    Args:
        pnet: computes in float32, as do the next two.
        rnet: see ``pnet``.
        onet: see ``pnet``.
        screens: P- and R-Net in a cheaper precision that decide what to compute in float32.
    """

    def __init__(
        self, pnet: Engine, rnet: Engine, onet: Engine, screens: tuple[Engine, Engine] | None = None
    ) -> None:
        self._pnet, self._rnet, self._onet = pnet, rnet, onet
        self._screens = screens

    def cells(self, sampler: AreaSampler, levels: Sequence[Level], threshold: float) -> list[Hits]:
        """P-Net: the cells of each level that score at least ``threshold`` (log-odds)."""
        if self._screens is None or not levels:
            pictures = (sampler.level(level) for level in levels)
            return [Hits.of_maps(_maps(self._pnet, picture), threshold) for picture in pictures]
        atlas = atlas_of(levels, least=_TILE)
        cells = atlas_map(atlas)
        picture = sampler.atlas(atlas)
        scores = _maps(self._screens[0], picture)[0].ravel()
        seen = np.flatnonzero(scores >= threshold - EDGE_MARGIN)
        close = (cells.edge_mask[seen] > 0) | (scores[seen] >= threshold - MARGIN)
        seen = seen[close & (cells.level[seen] >= 0)]
        rows, columns = np.divmod(seen, cells.columns)
        values = self._values(picture, rows, columns, cells.edge_mask[seen])
        stay = np.flatnonzero(values[:, 0] >= threshold)
        return _by_level(cells, seen[stay], values[stay])

    def rnet(self, crops: Floats, threshold: float) -> Floats:
        """R-Net's heads N×5; below ``threshold`` (log-odds) they are rough."""
        if self._screens is None:
            return _run_batched(self._rnet, crops)
        heads = _run_filled(self._screens[1], crops)
        again = np.flatnonzero(heads[:, 0] > threshold - MARGIN)
        if len(again):
            heads[again] = _run_batched(self._rnet, crops[again])
        return heads

    def onet(self, crops: Floats) -> Floats:
        """O-Net's heads N×15."""
        return _run_batched(self._onet, crops)

    def look(self, image: Image) -> SearchedPicture:
        """A picture H×W×3 uint8 before the networks."""
        return _SampledPicture(self, image)

    def close(self) -> None:
        """Free the networks."""
        for engine in self.engines.values():
            engine.close()

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name; those that only screen are named so."""
        found = {"mtcnn_pnet": self._pnet, "mtcnn_rnet": self._rnet, "mtcnn_onet": self._onet}
        if self._screens is not None:
            found |= zip(("mtcnn_pnet_screen", "mtcnn_rnet_screen"), self._screens, strict=True)
        return found

    def _values(
        self, atlas: Floats, rows: Ints, columns: Ints, edge_mask: NDArray[np.uint8]
    ) -> Floats:
        """P-Net's values N×5 in float32 at these cells N of an atlas 3×H×W. Computed from no more
        than the cells see; for ``edge_mask`` (N) see ``AtlasMap``."""
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

        Hits come in clusters and share most of what they see. One long picture takes half the
        time of a batch of small ones. The cells that see parts of two tiles are not used.
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


class _SampledPicture:
    """See ``SearchedPicture``."""

    pieces = 1  # small batches cost more

    def __init__(self, networks: Networks, image: Image) -> None:
        self._networks, self._sampler = networks, AreaSampler(image)
        self.size = self._sampler.size

    def cells(self, levels: Sequence[Level], threshold: float, workers: Workers) -> list[Hits]:
        return self._networks.cells(self._sampler, levels, threshold)

    def rnet(self, windows: Ints, threshold: float) -> Floats:
        return self._networks.rnet(self._sampler.crops(windows, RNET_SIDE), threshold)

    def onet(self, windows: Ints) -> Floats:
        return self._networks.onet(self._sampler.crops(windows, ONET_SIDE))

    nms = staticmethod(nms)


def open_networks(
    serving: Serving, *, screen: bool, gate: Callable[[Network], Gate], streams: int = 1
) -> Networks:
    """Load the networks.

    Args:
        serving: what is to run them.
        screen: whether to screen in bfloat16, where the CPU has it.
        gate: what a network must pass that is not OpenVINO's float32.
        streams: how many callers run them side by side.
    """
    with ExitStack() as opened:  # closes what was loaded if the next network fails

        def load(name: Network, *, screens: bool = False) -> Engine:
            precision: Precision = "auto" if screens else "float32"
            options = EngineOptions(precision=precision, streams=streams, shapes=SHAPES[name])
            # What only screens is computed again in float32: it may be rounded.
            own_gate = None if screens else gate(name)
            path = model_path(name)
            return opened.enter_context(
                serve(path, serving=serving, options=options, gate=own_gate)
            )

        exact = load("mtcnn_pnet"), load("mtcnn_rnet"), load("mtcnn_onet")
        screens = None
        # A plan takes whole levels, but no tiles of odd sizes, in batches and long strips.
        if screen and serving.backend != "tensorrt":
            pnet = load("mtcnn_pnet", screens=True)
            if pnet.precision != "float32":
                screens = pnet, load("mtcnn_rnet", screens=True)
            else:
                pnet.close()
        opened.pop_all()
        return Networks(*exact, screens)


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


def _run_filled(engine: Engine, pictures: Floats) -> Floats:
    """As ``_run_batched``, for a quick network: fewer batches, the last with empty pictures."""
    count, most = len(pictures), _BATCHES[0]
    parts = [pictures[start : start + most] for start in range(0, count, most)]
    rest = len(parts[-1]) if parts else 0
    size = min(-(-rest // 8) * 8, 1 << max(rest - 1, 0).bit_length())
    if size > rest:
        parts[-1] = np.concatenate([parts[-1], np.zeros((size - rest, *pictures.shape[1:]), "f4")])
    return np.concatenate([_run(engine, part) for part in parts])[:count]


def _run_batched(engine: Engine, pictures: NDArray[Any]) -> Floats:
    """The only output for pictures N×…, N at least 1, none filled up: 35 are 32, 2 and 1."""
    results, start = [], 0
    while start < len(pictures):
        size = _BATCHES[0]  # on CUDA: its engines pad batches, and one run costs less
        if "cuda" not in engine.device:
            size = next(size for size in _BATCHES if size <= len(pictures) - start)
        results.append(_run(engine, pictures[start : start + size]))
        start += size
    return results[0] if len(results) == 1 else np.concatenate(results)


def _run(engine: Engine, pictures: NDArray[Any]) -> Floats:
    result: Floats = engine.infer({engine.inputs[0].name: pictures})[engine.outputs[0].name]
    return result
