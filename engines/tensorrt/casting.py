"""ONNX networks in float16 or bfloat16, with float32 islands, by casting the ONNX itself."""

from __future__ import annotations

from pathlib import Path

from ..options import ImageInput
from .recipe import PlanPrecision


def prepare(path: Path, precision: PlanPrecision, image_input: ImageInput | None) -> bytes:
    """The ONNX network as a plan is built from it; its outer tensors stay float32.

    Raises:
        BackendUnavailable: ``onnx`` is not installed, and the network needs a change.
        ModelError: the network is damaged or has what cannot be cast.
    """
    if precision == "float32" and image_input is None:
        return path.read_bytes()
    raise NotImplementedError
