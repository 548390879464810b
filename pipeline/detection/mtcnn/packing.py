"""Weights of MTCNN's networks as the kernels read them (see ``native/core.h``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from facestream.engines.cards import model_path
from facestream.engines.openvino import constants

from ...core.types import Floats
from .networks import Network

# Outputs are packed by this many, the last filled up with zeros.
_BLOCK = 16

# Layers computed by Winograd's F(2×2, 3×3).
_WINOGRAD = {"mtcnn_pnet": ("conv3",), "mtcnn_rnet": ("conv2",), "mtcnn_onet": ("conv2", "conv3")}

# A kernel g becomes G g Gᵀ.
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def packed_weights(network: Network) -> Floats:
    """All weights of a network that ships, in one array.

    Raises:
        ModelError: its file is missing or damaged.
    """
    found = constants(model_path(network))
    return np.concatenate([part.ravel() for part in _parts(network, found)]).astype(np.float32)


def _parts(network: Network, found: Mapping[str, Floats]) -> Iterator[Floats]:
    number = 1
    while (weight := found.get(f"conv{number}.weight")) is not None:
        winograd = f"conv{number}" in _WINOGRAD[network]
        yield _by_winograd(weight) if winograd else _direct(weight)
        yield _filled(found[f"conv{number}.bias"])
        yield _filled(found[f"prelu{number}.slope"].ravel())
        channels = len(weight)
        number += 1
    if "dense.weight" in found:
        dense = found["dense.weight"]
        yield _direct(dense.reshape(len(dense), channels, 3, 3))
        yield _filled(found["dense.bias"])
        yield _filled(found["dense.slope"].ravel())
    heads = found["heads.weight"]
    yield _direct(heads.reshape(*heads.shape[:2], 1, 1))
    yield _filled(found["heads.bias"])


def _direct(weight: Floats) -> Floats:
    """Weights out×in×h×w as out/16 × (h·w·in) × 16."""
    rows = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    return _blocks(rows)


def _by_winograd(weight: Floats) -> Floats:
    """Weights out×in×3×3 as 16 × out/16 × in × 16."""
    matrices = np.einsum("ai,ocij,bj->abco", _G, weight.astype(np.float64), _G)
    return np.stack([_blocks(one) for one in matrices.reshape(16, *weight.shape[1::-1])])


def _blocks(rows: Floats) -> Floats:
    """Rows N×out as out/16 × N × 16."""
    rows = _filled(rows)
    blocks: Floats = rows.reshape(len(rows), -1, _BLOCK).transpose(1, 0, 2)
    return blocks


def _filled(rows: Floats) -> Floats:
    """Rows …×out with zeros up to a multiple of 16."""
    more = -rows.shape[-1] % _BLOCK
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, more)])
