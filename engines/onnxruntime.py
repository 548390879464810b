"""Networks through ONNX Runtime, on a CUDA device or the CPU."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Array, BaseEngine, Precision, TensorSpec
from .casting import FloatPrecision, prepare
from .checks import check_feeds, check_model_file
from .devices import cuda_devices, driver_report, usable_cpus
from .errors import BackendUnavailable, InferenceError, ModelError
from .options import Device, EngineOptions

log = logging.getLogger(__name__)

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4  # Severity: errors arrive as exceptions, and the default prints to standard error.
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


@cache
def _module() -> Any:
    """ONNX Runtime, with the CUDA libraries of NVIDIA's wheels where it is built for CUDA.

    Raises:
        BackendUnavailable: it is not installed or does not load.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"onnxruntime does not load ({error}); install it with: pip install onnxruntime onnx"
        ) from error
    runtime.set_default_logger_severity(_FATAL)
    preload = getattr(runtime, "preload_dlls", None)
    if preload is not None and _CUDA in runtime.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            preload()
        if printed.getvalue():
            log.debug("onnxruntime: %s", printed.getvalue().strip())
    return runtime


def describe(device: Device = "auto") -> str:
    """Version, device and precisions; BackendUnavailable if not installed or no such device."""
    version = _module().__version__
    if find_device(device) == "cpu":
        return f"onnxruntime {version}, CPU, float32"
    return f"onnxruntime {version}, {cuda_devices()[0]}, float16 or float32"


def find_device(wanted: Device = "auto") -> Device:
    """``cuda`` or ``cpu``; ``auto`` is ``cuda`` where ONNX Runtime can use a CUDA device.

    Raises:
        BackendUnavailable: ``cuda`` is asked for and cannot be used; says why.
    """
    problem = driver_report().problem
    if problem is None and _CUDA not in _module().get_available_providers():
        problem = (
            f"onnxruntime {_module().__version__} is built without CUDA: "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    if wanted == "cuda" and problem is not None:
        raise BackendUnavailable(f"onnxruntime sees no CUDA device: {problem}")
    return "cuda" if wanted != "cpu" and problem is None else "cpu"


def choose_precision(wanted: Precision) -> FloatPrecision:
    """The arithmetic to use, or BackendUnavailable; ``auto`` is float32: rounding needs a gate."""
    if wanted in ("auto", "float32"):
        return "float32"
    if wanted == "float16":
        return "float16"
    raise BackendUnavailable(
        f"the onnxruntime backend does not compute {wanted}; use float32, float16 or another "
        "backend"
    )


class OnnxRuntimeEngine(BaseEngine):
    """A network on the first CUDA device or on the CPU.

    float16 (see ``casting.prepare``) is computed in float32 where ONNX Runtime has no float16
    kernel, as mostly on the CPU.

    Raises:
        BackendUnavailable: no such device or precision, or the ``onnx`` package is missing.
        ModelError: the file is missing, damaged, or does not fit the options.
    """

    def __init__(self, path: Path, *, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        self._path = path
        self._failures = _failures()
        self.backend = "onnxruntime"
        self.precision = choose_precision(options.precision)
        device = find_device(options.device)
        self.device = "cuda:0" if device == "cuda" else "CPU"
        check_model_file(path)
        network = prepare(path, self.precision, options.image_input)
        try:
            self._session: Any = _session(network, device, options)
        except self._failures as error:
            raise ModelError(f"cannot read the network {path}: {_line(error)}") from error
        if device == "cuda" and self._session.get_providers()[0] != _CUDA:
            raise BackendUnavailable(
                "onnxruntime does not start on the GPU: a CUDA or cuDNN library is missing or of "
                "another version; pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
        self.inputs = tuple(map(_spec_of, self._session.get_inputs()))
        self.outputs = tuple(map(_spec_of, self._session.get_outputs()))

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self.inputs, feeds)
        session = self._session
        if session is None:
            raise InferenceError(f"the engine of {self._path.name} is closed")
        arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        try:
            results = session.run(None, arrays)
        except self._failures as error:
            raise InferenceError(f"{self._path.name} failed: {_line(error)}") from error
        return {
            spec.name: np.asarray(result, np.float32)
            for spec, result in zip(self.outputs, results, strict=True)
        }

    def close(self) -> None:
        """Free the network; calls under way still end."""
        self._session = None

    def __repr__(self) -> str:
        return f"OnnxRuntimeEngine({self._path.name}, {self.device}, {self.precision})"


def _session(network: bytes, device: Device, options: EngineOptions) -> Any:
    runtime = _module()
    settings = runtime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = max((options.threads or usable_cpus()) // options.streams, 1)
    # Threads that spin while they wait slow the other engines down.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # TF32 rounds the inputs of float32 products to 10 bits: not what "float32" promises.
    cuda = [(_CUDA, {"device_id": 0, "use_tf32": 0})] if device == "cuda" else []
    session = runtime.InferenceSession(network, settings, providers=[*cuda, _CPU])
    session.disable_fallback()  # from CUDA to the CPU after an error
    return session


def _failures() -> tuple[type[Exception], ...]:
    """ONNX Runtime's errors share no base but Exception."""
    state: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own: Iterator[Any] = (value for value in vars(state).values() if isinstance(value, type))
    return (RuntimeError, *(kind for kind in own if issubclass(kind, Exception)))


def _spec_of(value: Any) -> TensorSpec:
    """The spec of an input or output; ModelError unless it is float32 or uint8."""
    if value.type not in _DTYPES:
        raise ModelError(f"tensor '{value.name}' is {value.type}; float32 and uint8 are supported")
    shape = tuple(length if isinstance(length, int) else None for length in value.shape)
    return TensorSpec(value.name, shape, np.dtype(_DTYPES[value.type]))


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
