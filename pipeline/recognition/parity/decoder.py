"""The gate of the decoder: its pictures, against its own in float32."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import checksum
from facestream.engines.options import EngineOptions
from facestream.engines.parity import Verdict
from facestream.engines.registry import load_engine

from ...core.types import Floats
from .figures import cosines, verdict

COSINE: Final = 0.999
PSNR: Final = 40.0
"""In dB, of a range of two (−1..1): a root mean square error of 1 % of the range."""

_COUNT = 16
_VERSION = 1


class DecoderGate:
    """Compares a decoder with itself in float32 on 16 codes, drawn once for all.

    Figures: ``finite``, ``cosine_min`` of the pictures and ``psnr_min`` in dB.

    Args:
        path: the decoder's ONNX network, with one input N×D and pictures within −1..1.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def key(self) -> str:
        """See ``Gate``."""
        return f"decoder-{_VERSION}-{checksum(self._path)[:16]}-{COSINE}-{PSNR}"

    def judge(self, engine: Engine) -> Verdict:
        """See ``Gate``."""
        expected = _reference(self._path, checksum(self._path))
        found = _run(engine)
        if found.shape != expected.shape:
            return Verdict({}, (f"pictures are {found.shape}, not {expected.shape}",))
        with np.errstate(invalid="ignore", over="ignore"):
            similar = cosines(found, expected)
            errors = np.square(found - expected).mean(axis=1)
            figures = {
                "finite": float(np.isfinite(found).mean()),
                "cosine_min": float(similar.min()),
                "psnr_min": float(10 * np.log10(4 / np.maximum(errors, 1e-12)).min()),
            }
        return verdict(figures, {"finite": 1.0, "cosine_min": COSINE, "psnr_min": PSNR})


@cache
def _reference(path: Path, digest: str) -> Floats:
    options = EngineOptions(precision="float32")
    with load_engine(path, backend="openvino", options=options) as engine:
        return _run(engine)


def _run(engine: Engine) -> Floats:
    """Pictures as rows N×K."""
    spec = engine.inputs[0]
    codes = np.random.default_rng(0).standard_normal((_COUNT, spec.shape[1] or 1), np.float32)
    pictures = engine.infer({spec.name: codes})[engine.outputs[0].name]
    return pictures.reshape(_COUNT, -1)
