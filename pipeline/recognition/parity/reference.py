"""What the encoder gives in float32 for the gate's faces."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.base import Array, Engine
from facestream.engines.cards import checksum
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine

from ...core.types import Floats, Image
from .faces import SIZE, gate_faces

SHIPPED: Final = Path(__file__).parent / "reference.npz"
"""The reference of the encoder that ships, so that a start costs one pass and no second engine."""

# 64 faces in these batches: each is a shape, and for a plan a kernel, of its own.
BATCHES: Final = (32, 16, 8, 4, 2, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """mu N×D and logvar N×D."""

    mu: Floats
    logvar: Floats


@cache
def faces_digest() -> str:
    """SHA-256 of the gate's faces: they differ where OpenCV decodes or resizes otherwise."""
    return hashlib.sha256(gate_faces().tobytes()).hexdigest()


def run_encoder(engine: Engine, faces: Image) -> Outputs:
    """An encoder's outputs for the gate's faces.

    Args:
        engine: takes N×S×S×3 BGR uint8, or N×3×S×S RGB float32.
        faces: 64×112×112×3 BGR uint8.

    Raises:
        InferenceError: the engine failed.
    """
    spec = engine.inputs[0]
    parts = []
    start = 0
    for size in BATCHES:
        batch: Array = _sized(faces[start : start + size], engine)
        if spec.dtype != np.uint8:
            batch = np.ascontiguousarray(batch[..., ::-1].transpose(0, 3, 1, 2), np.float32)
        parts.append(engine.infer({spec.name: batch}))
        start += size
    return Outputs(
        np.concatenate([part["mu"] for part in parts]),
        np.concatenate([part["logvar"] for part in parts]),
    )


def _sized(faces: Image, engine: Engine) -> Image:
    """The faces at the size that the encoder takes."""
    side = engine.inputs[0].shape[2] or SIZE
    if side == SIZE:
        return faces
    return np.stack([np.asarray(cv2.resize(face, (side, side)), np.uint8) for face in faces])


def reference(path: Path) -> Outputs:
    """The float32 outputs of the encoder in this file: as shipped, else computed by OpenVINO.

    Raises:
        BackendUnavailable: it is not the one that ships, and OpenVINO is not there.
        ModelError: the file is missing or damaged.
        InferenceError: the network failed.
    """
    return _reference(path, checksum(path))


@cache
def _reference(path: Path, digest: str) -> Outputs:
    shipped = _shipped(digest)
    return compute(path) if shipped is None else shipped


def compute(path: Path) -> Outputs:
    """The float32 outputs, computed; see ``reference``."""
    options = EngineOptions(precision="float32")
    with load_engine(path, backend="openvino", options=options) as engine:
        return run_encoder(engine, gate_faces())


def write_shipped(path: Path, file: Path = SHIPPED) -> None:
    """Write the reference that ships, for the encoder in ``path``; see ``reference``."""
    outputs = compute(path)
    data = io.BytesIO()
    np.savez_compressed(
        data,
        network=np.array(checksum(path)),
        faces=np.array(faces_digest()),
        mu=outputs.mu,
        logvar=outputs.logvar,
    )
    file.write_bytes(data.getvalue())


def _shipped(digest: str) -> Outputs | None:
    """The reference that ships, where it is of this network and these faces."""
    try:
        with np.load(SHIPPED) as kept:
            if str(kept["network"]) != digest or str(kept["faces"]) != faces_digest():
                return None
            return Outputs(kept["mu"], kept["logvar"])
    except FileNotFoundError:
        return None
