"""Backends by name, each imported only when it is asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from .base import Engine, Precision
from .devices import cuda_devices, driver_report
from .errors import BackendUnavailable
from .options import Backend, Device, EngineOptions

log = logging.getLogger(__name__)

BackendName = Literal["tensorrt", "onnxruntime", "openvino"]
Where = Literal["cuda", "cpu"]

# The order in which "auto" tries them: fastest first.
_ORDER: tuple[tuple[BackendName, Where], ...] = (
    ("tensorrt", "cuda"),
    ("onnxruntime", "cuda"),
    ("openvino", "cpu"),
    ("onnxruntime", "cpu"),
)

_NO_DEVICE = "no CUDA device"


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Whether a backend can serve here, and its version and device, or why not."""

    name: BackendName
    usable: bool
    detail: str
    device: Where = "cpu"


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """The backend that serves, the kind of device it is on, and why, in one line."""

    name: BackendName
    reason: str
    device: Where = "cpu"


def backend_status() -> list[BackendStatus]:
    """All backends, best first, each on the best device it can use here.

    Loads all of them: for ``doctor``, not for a start.
    """
    found: dict[BackendName, BackendStatus] = {}
    for name, where in _ORDER:
        if name == "onnxruntime" and where == "cuda" and not cuda_devices():
            continue
        status = _status(name, where)
        if name not in found or (status.usable and not found[name].usable):
            found[name] = status
    return sorted(found.values(), key=lambda status: _ORDER.index((status.name, status.device)))


def choose_backend(backend: Backend = "auto", *, device: Device = "auto") -> BackendChoice:
    """The backend that will serve; loads no more of them than it must.

    Args:
        backend: ``auto`` takes the fastest that works.
        device: the kind of device it must run on; ``auto`` takes a CUDA device where the backend
            finds one.

    Raises:
        BackendUnavailable: the one asked for, or with ``auto`` none of them, can serve here.
        ValueError: there is no backend of that name.
    """
    missing: list[str] = []
    for status in candidates(backend, device=device):
        if status.usable:
            if backend != "auto":
                return BackendChoice(status.name, f"asked for ({status.detail})", status.device)
            why = f"auto: the first that works here ({status.detail})"
            return BackendChoice(status.name, "; ".join([why, *missing]), status.device)
        named = status.detail.startswith((status.name, _NO_DEVICE))
        missing.append(status.detail if named else f"{status.name}: {status.detail}")
    if backend != "auto":
        raise BackendUnavailable(missing[-1])
    raise BackendUnavailable("no backend can serve: " + "; ".join(missing))


def candidates(backend: Backend = "auto", *, device: Device = "auto") -> Iterator[BackendStatus]:
    """The backends that may serve, best first; each is examined when it is reached.

    Without a CUDA device ``auto`` loads no CUDA backend; one unusable entry gives the reason.

    Raises:
        ValueError: there is no backend of that name.
        BackendUnavailable: the backend asked for never runs on that kind of device.
    """
    if backend not in get_args(Backend):
        names = ", ".join(name for name in get_args(Backend) if name != "auto")
        raise ValueError(f"no backend '{backend}'; choose auto, {names}")
    if backend == "torch":
        backend = "onnxruntime"
    rows = [
        (name, where)
        for name, where in _ORDER
        if backend in ("auto", name) and device in ("auto", where)
    ]
    if not rows:
        only = next(where for name, where in _ORDER if name == backend)
        raise BackendUnavailable(f"{backend} runs on {only} only, not on {device}")
    return _examined(rows, backend)


def _examined(rows: list[tuple[BackendName, Where]], backend: Backend) -> Iterator[BackendStatus]:
    reported = False
    for name, where in rows:
        no_device = where == "cuda" and not cuda_devices()
        if no_device and backend == "auto":
            if not reported:
                reported = True
                detail = f"{_NO_DEVICE} ({driver_report().problem})"
                yield BackendStatus(name, False, detail, where)
        elif no_device and name == "onnxruntime" and len(rows) > 1:
            continue  # asked for by name: it serves on the CPU
        else:
            yield _status(name, where)


def precisions(name: BackendName, device: Where) -> tuple[Precision, ...]:
    """The precisions of a backend on a device, fastest first, float32 last (the others round).

    Raises:
        BackendUnavailable: the backend is not usable.
    """
    if name == "openvino":
        from . import openvino  # slow to load

        fast = openvino.choose_precision("auto")
        return ("bfloat16", "float32") if fast == "bfloat16" else ("float32",)
    return ("float16", "float32") if device == "cuda" else ("float32",)


def load_engine(
    path: Path,
    *,
    backend: Backend = "auto",
    options: EngineOptions | None = None,
    cache: Path | None = None,
    stop: threading.Event | None = None,
) -> Engine:
    """Load an ONNX network.

    Args:
        path: the ``.onnx`` file.
        backend: ``auto`` takes the first that works, TensorRT only with ``options.shapes``, and
            waits until a missing plan is built.
        options: how it should run, and on which device.
        cache: folder of built plans; None keeps none.
        stop: ends the build of a plan once it is set.

    Raises:
        BackendUnavailable: no such backend on this machine; the message says how to get it.
        BuildFailed: a plan cannot be built, or the build was stopped.
        ModelError: the file is missing, damaged, or does not fit the options.
    """
    options = options or EngineOptions()
    choice = _choice(backend, options)
    log.debug("%s runs on %s, %s", path.name, choice.name, choice.reason)
    options = replace(options, device=choice.device)
    # A backend is loaded only where it serves: each is optional and slow to load.
    if choice.name == "tensorrt":
        from .tensorrt.engine import TensorRtEngine

        progress = None if stop is None else lambda phase, share: not stop.is_set()
        return TensorRtEngine(path, options=options, cache=cache, progress=progress)
    if choice.name == "openvino":
        from .openvino import OpenVinoEngine

        return OpenVinoEngine(path, options=options)
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, options=options)


def _choice(backend: Backend, options: EngineOptions) -> BackendChoice:
    choice = choose_backend(backend, device=options.device)
    if backend == "auto" and choice.name == "tensorrt" and options.shapes is None:
        for status in candidates(backend, device=options.device):
            if status.usable and status.name != "tensorrt":
                why = f"auto: without shapes no plan is built ({status.detail})"
                return BackendChoice(status.name, why, status.device)
    return choice


def _status(name: BackendName, where: Where) -> BackendStatus:
    try:
        return BackendStatus(name, True, _describe(name, where), where)
    except BackendUnavailable as error:
        return BackendStatus(name, False, str(error), where)


def _describe(name: BackendName, where: Where) -> str:
    # See ``load_engine``.
    if name == "tensorrt":
        from .tensorrt import engine

        return engine.describe()
    if name == "openvino":
        from . import openvino

        return openvino.describe()
    from . import onnxruntime

    return onnxruntime.describe(where)
