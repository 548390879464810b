"""Networks through torch, on the CPU or a CUDA device."""

from __future__ import annotations

from pathlib import Path

from .base import Engine
from .errors import BackendUnavailable
from .options import EngineOptions


def describe() -> str:
    """Version and device."""
    raise BackendUnavailable("the torch backend is not built yet; use backend='openvino'")


def TorchEngine(path: Path, *, options: EngineOptions | None = None) -> Engine:
    """Placeholder until the interpreter is in."""
    raise BackendUnavailable("the torch backend is not built yet; use backend='openvino'")
