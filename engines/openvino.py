"""Networks on the CPU through OpenVINO."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Array, BaseEngine, Precision, TensorSpec
from .cards import quantised_file
from .checks import check_feeds, check_model_file, image_spec
from .devices import usable_cpus
from .errors import BackendUnavailable, InferenceError, ModelError
from .options import EngineOptions, ImageInput

_DEVICE = "CPU"
_HINTS: dict[str, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITY: dict[str, str] = {"bfloat16": "BF16", "float16": "FP16"}
_TELEMETRY = "openvino_telemetry"

# A batch this large is split between two requests with half the threads each: they wait for each
# other less often than all threads do at every layer. Measured for the encoder in bfloat16 on two
# busy threads: 1.4 times the faces per second at 8, 1.3 at 32; no gain at 2.
_HALVED = 8

# Held while OpenVINO is imported, started and used for the first time.
_STARTING = threading.Lock()


def _openvino() -> Any:
    """The module, ready for several threads; BackendUnavailable if it does not load."""
    with _STARTING:
        return _started()[0]


def _core() -> Any:
    """One Core for the process: it owns the plug-in, which is costly to load."""
    with _STARTING:
        return _started()[1]


@cache
def _started() -> tuple[Any, Any]:
    """The module and its Core, after one inference.

    The binding initialises its link to numpy lazily, under a C++ static guard, while it releases
    and retakes the interpreter's lock: two threads can deadlock there (seen with OpenVINO 2026.4,
    two engines loading side by side). So one thread does it first, in a few milliseconds.
    """
    ov = _imported()
    core = ov.Core()
    parameter = ov.opset13.parameter([1], np.float32)
    model = ov.Model([ov.opset13.relu(parameter)], [parameter])
    np.dtype(model.inputs[0].get_element_type().to_dtype())
    request = core.compile_model(model, _DEVICE).create_infer_request()
    request.infer([np.zeros(1, np.float32)], share_inputs=True, share_outputs=False)
    request.infer([np.zeros(1, np.float32)])
    return ov, core


def _imported() -> Any:
    """The module, imported without telemetry.

    ``import openvino`` sends an event over the network and writes ``~/intel`` when the package
    openvino_telemetry can be imported; where it cannot, OpenVINO uses its own silent stand-in.
    """
    hide = _TELEMETRY not in sys.modules
    if hide:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # makes the import fail
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"openvino does not load ({error}); install it with: pip install openvino"
        ) from error
    finally:
        if hide:
            sys.modules.pop(_TELEMETRY, None)


def capabilities() -> tuple[str, ...]:
    """What OpenVINO can compute on this CPU, e.g. ``("BF16", "FP32", "INT8")``.

    Raises:
        BackendUnavailable: OpenVINO does not load here or sees no CPU.
    """
    ov = _openvino()
    try:
        found = _core().get_property(_DEVICE, ov.properties.device.capabilities())
    except RuntimeError as error:
        raise BackendUnavailable(f"openvino finds no usable CPU: {_last_line(error)}") from error
    return tuple(sorted(found))


def describe() -> str:
    """Version, processor and what ``auto`` means; BackendUnavailable if OpenVINO does not load."""
    ov = _openvino()
    name = _core().get_property(_DEVICE, ov.properties.device.full_name())
    return f"openvino {ov.__version__.split('-')[0]}, {name}, {choose_precision('auto')}"


def choose_precision(wanted: Precision) -> str:
    """The arithmetic to use; BackendUnavailable if the CPU does not support it."""
    if wanted == "auto":
        # OpenVINO's own default, not its capabilities, which include emulated types.
        default = _core().get_property(_DEVICE, "INFERENCE_PRECISION_HINT")
        return "bfloat16" if default == _openvino().Type.bf16 else "float32"
    if wanted == "int8":
        return wanted
    if wanted not in _HINTS:
        known = ", ".join(_HINTS)
        raise BackendUnavailable(f"openvino cannot be asked for {wanted}; use auto, {known}, int8")
    needed = _CAPABILITY.get(wanted)
    if needed is not None and needed not in capabilities():
        raise BackendUnavailable(f"this CPU does not compute {wanted}; use auto or float32")
    return wanted


class _Program:
    """A compiled network with idle infer requests: one for each thread inside."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    @contextmanager
    def request(self) -> Iterator[Any]:
        """A request of this caller alone during the block."""
        with self._lock:
            request = self._idle.pop() if self._idle else None
        if request is None:
            request = self._compiled.create_infer_request()
        yield request  # after an error the request is dropped rather than used again
        with self._lock:
            self._idle.append(request)


class OpenVinoEngine(BaseEngine):
    """A network on the CPU, compiled once for all input shapes.

    With ``streams`` above 1, that many callers run side by side, each on its share of the threads.

    Raises:
        BackendUnavailable: OpenVINO or the precision asked for is not available.
        ModelError: the file is missing, damaged or not a network that fits the options.
    """

    def __init__(self, path: Path, *, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        ov = _openvino()
        self._path = path
        self.backend, self.device = "openvino", _DEVICE
        self.precision = choose_precision(options.precision)
        check_model_file(path)
        try:
            self._model = _read_int8(path) if self.precision == "int8" else _read_onnx(ov, path)
            own = tuple(map(_spec_of, self._model.inputs))
            self.inputs = image_spec(own, options.image_input)
            if options.image_input is not None:
                self._model = _with_image_input(ov, self._model, options.image_input)
            self.outputs = tuple(map(_spec_of, self._model.outputs))
        except _read_errors(ov) as error:
            raise ModelError(f"cannot read the network {path}: {_last_line(error)}") from error
        cpus = usable_cpus()
        self._threads = options.threads or cpus
        self._threads_matter = self._threads != cpus or cpus < len(os.sched_getaffinity(0))
        self._streams = options.streams
        self._halving = self._can_halve()
        self._programs: dict[int, _Program] = {}  # by their number of streams
        self._lock = threading.Lock()
        self._compile_lock = threading.Lock()
        self._closed = False

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self.inputs, feeds)
        # Contiguous arrays are read in place, without a copy. For a list instead of a mapping the
        # binding asks the request for its inputs, 0.05 ms a call.
        arrays = [np.ascontiguousarray(feeds[spec.name]) for spec in self.inputs]
        parts = [dict(enumerate(arrays))]
        if self._halving and len(arrays[0]) >= _HALVED:
            middle = (len(arrays[0]) + 1) // 2
            parts = [{0: arrays[0][:middle]}, {0: arrays[0][middle:]}]
        program = self._program(self._streams if len(parts) == 1 else len(parts))
        try:
            return self._run(program, parts)
        except RuntimeError as error:
            self._forget(program)
            raise InferenceError(f"{self._path.name} failed: {_last_line(error)}") from error

    def close(self) -> None:
        """Free the compiled network; calls under way still end."""
        with self._lock:
            self._closed = True
            self._programs.clear()

    def __repr__(self) -> str:
        return f"OpenVinoEngine({self._path.name}, {self.precision})"

    def _can_halve(self) -> bool:
        """Whether to split large batches: two threads, one input, a dynamic batch throughout."""
        free = all(spec.shape[:1] == (None,) for spec in (*self.inputs, *self.outputs))
        return self._streams == 1 and self._threads >= 2 and len(self.inputs) == 1 and free

    def _run(
        self, program: _Program, parts: list[dict[int, Array]]
    ) -> dict[str, NDArray[np.float32]]:
        """The outputs for the parts of a batch, each in a request of its own, side by side."""
        with ExitStack() as stack:
            requests = [stack.enter_context(program.request()) for _ in parts]
            # Never the synchronous ``infer``: with one thread it runs in the caller's, and after
            # an error there the next network that does so crashes (OpenVINO 2026.4).
            for request, part in zip(requests, parts, strict=True):
                request.start_async(part, share_inputs=True)
            for request in requests:
                request.wait()
            found: dict[str, NDArray[np.float32]] = {}
            for index, spec in enumerate(self.outputs):
                arrays = [request.get_output_tensor(index).data for request in requests]
                # Copied: the next run of the request writes to the same memory.
                whole = arrays[0].copy() if len(arrays) == 1 else np.concatenate(arrays)
                found[spec.name] = whole.astype(np.float32, copy=False)
            return found

    def _program(self, streams: int) -> _Program:
        """The network compiled for this many streams, on first use."""
        with self._lock:
            if self._closed:
                raise InferenceError(f"the engine of {self._path.name} is closed")
            program = self._programs.get(streams)
        if program is None:
            with self._compile_lock:
                program = self._programs.get(streams) or _Program(self._compile(streams))
                with self._lock:
                    if not self._closed:
                        self._programs[streams] = program
        return program

    def _forget(self, program: _Program) -> None:
        """Compile again next time: after an error OpenVINO 2026.4 fails on good inputs too."""
        with self._lock:
            self._programs = {key: one for key, one in self._programs.items() if one is not program}

    def _compile(self, streams: int) -> Any:
        # The floating-point part of an int8 network is computed in the fastest precision.
        floats = choose_precision("auto") if self.precision == "int8" else self.precision
        # No CACHE_DIR: it saves 0.1 s of a start, keeps 39 MB for the encoder, and loads a blob
        # with damaged weights unnoticed (2026.4: NaN came out).
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[floats],
            "PERFORMANCE_HINT": "LATENCY",
            # Pinned threads of several engines sit on the same cores and wait for each other.
            "ENABLE_CPU_PINNING": False,
        }
        # Without these OpenVINO chooses for the whole machine, ignoring a container's CPU quota.
        if self._threads_matter or streams > 1:
            config["INFERENCE_NUM_THREADS"] = max(self._threads, streams)
        if streams > 1:
            config["NUM_STREAMS"] = streams
        try:
            return _core().compile_model(self._model, _DEVICE, config)
        except RuntimeError as error:
            raise InferenceError(
                f"{self._path.name} cannot be compiled: {_last_line(error)}"
            ) from error


def _read_onnx(ov: Any, path: Path) -> Any:
    # Core.read_model tries every format on a damaged file; TensorFlow's parser writes to stderr.
    frontend = ov.frontend.FrontEndManager().load_by_framework("onnx")
    return frontend.convert(frontend.load(str(path)))


def _read_int8(path: Path) -> Any:
    """The int8 version beside an ONNX file; BackendUnavailable if there is none."""
    file = quantised_file(path)
    if not file.is_file():
        raise BackendUnavailable(
            f"there is no int8 version of {path.name} ({file.name} beside it); "
            "make one with 'facestream-train quantise', or use bfloat16 or float32"
        )
    return _core().read_model(file)


def _read_errors(ov: Any) -> tuple[type[Exception], ...]:
    """The frontend's errors share no base but Exception."""
    frontend = ov.frontend
    return (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )


def _spec_of(port: Any) -> TensorSpec:
    shape = tuple(
        None if dimension.is_dynamic else dimension.get_length()
        for dimension in port.get_partial_shape()
    )
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))


def _with_image_input(ov: Any, model: Any, image: ImageInput) -> Any:
    """The network with its only input replaced; see ``ImageInput``."""
    prepost = ov.preprocess.PrePostProcessor(model)
    port = prepost.input()
    port.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    port.model().set_layout(ov.Layout("NCHW"))
    steps = port.preprocess().convert_element_type(ov.Type.f32)
    if image.channels != image.network_channels:
        steps = steps.reverse_channels()
    if image.mean != 0:
        steps = steps.mean(image.mean)
    if image.scale != 1:
        steps.scale(image.scale)
    return prepost.build()


def _last_line(error: BaseException) -> str:
    """The last non-empty line: OpenVINO's messages are pages of C++ file names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def constants(path: Path) -> dict[str, NDArray[Any]]:
    """The constants of a network by their names in its file, weights among them.

    Raises:
        BackendUnavailable: OpenVINO does not load here.
        ModelError: the file is missing or damaged.
    """
    check_model_file(path)
    ov = _openvino()
    try:
        operations = _read_onnx(ov, path).get_ops()
    except _read_errors(ov) as error:
        raise ModelError(f"cannot read the network {path}: {_last_line(error)}") from error
    found = (one for one in operations if one.get_type_name() == "Constant")
    return {one.get_friendly_name(): np.array(one.data) for one in found}
