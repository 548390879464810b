"""Backends by name, each imported only when it is asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .base import Engine
from .errors import BackendUnavailable
from .options import Backend, EngineOptions, ImageInput

__all__ = [
    "Backend",
    "BackendChoice",
    "BackendName",
    "BackendStatus",
    "EngineOptions",
    "ImageInput",
    "backend_status",
    "choose_backend",
    "load_engine",
]

log = logging.getLogger(__name__)

BackendName = Literal["openvino", "torch"]

# The order in which "auto" tries them: fastest on a CPU first.
_ORDER: tuple[BackendName, ...] = ("openvino", "torch")


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Whether a backend can serve here, and its version and device, or why not."""

    name: BackendName
    usable: bool
    detail: str


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """The backend that serves, and why, in one line."""

    name: BackendName
    reason: str


def backend_status() -> list[BackendStatus]:
    """All backends, best first. Loads each of them, torch too: for ``doctor``, not for a start."""
    return [_status(name) for name in _ORDER]


def choose_backend(backend: Backend = "auto") -> BackendChoice:
    """The backend that will serve; loads no more of them than it must.

    Raises:
        BackendUnavailable: the one asked for, or with ``auto`` none of them, can serve here.
        ValueError: there is no backend of that name.
    """
    if backend == "auto":
        missing: list[str] = []
        for name in _ORDER:
            status = _status(name)
            if status.usable:
                why = f"auto: the first that works here ({status.detail})"
                return BackendChoice(name, "; ".join([why, *missing]))
            missing.append(f"{name}: {status.detail}")
        raise BackendUnavailable("no backend can serve: " + "; ".join(missing))
    if backend not in _ORDER:
        raise ValueError(f"no backend '{backend}'; choose auto, {', '.join(_ORDER)}")
    status = _status(backend)
    if not status.usable:
        raise BackendUnavailable(status.detail)
    return BackendChoice(backend, f"asked for ({status.detail})")


def load_engine(
    path: Path, *, backend: Backend = "auto", options: EngineOptions | None = None
) -> Engine:
    """Load an ONNX network.

    Args:
        path: the ``.onnx`` file.
        backend: which backend; ``auto`` takes the first that works.
        options: how it should run.

    Raises:
        BackendUnavailable: no such backend on this machine; the message says how to get it.
        ModelError: the file is missing, damaged, or does not fit the options.
    """
    choice = choose_backend(backend)
    log.debug("%s runs on %s, %s", path.name, choice.name, choice.reason)
    if choice.name == "openvino":
        from .openvino import OpenVinoEngine

        return OpenVinoEngine(path, options=options)
    from .torch import TorchEngine

    return TorchEngine(path, options=options)


def _status(name: BackendName) -> BackendStatus:
    try:
        if name == "openvino":
            from . import openvino

            return BackendStatus(name, True, openvino.describe())
        from . import torch

        return BackendStatus(name, True, torch.describe())
    except BackendUnavailable as error:
        return BackendStatus(name, False, str(error))
