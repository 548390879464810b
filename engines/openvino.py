"""Networks on the CPU through OpenVINO."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Array, Precision, TensorSpec
from .checks import check_feeds, check_model_file, image_spec
from .closing import Closing
from .errors import BackendUnavailable, InferenceError, ModelError
from .openvino_models import (
    last_line,
    read_errors,
    read_int8,
    read_onnx,
    spec_of,
    with_image_input,
)
from .options import EngineOptions

log = logging.getLogger(__name__)

_DEVICE = "CPU"
_HINTS: dict[str, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITY: dict[str, str] = {"bfloat16": "BF16", "float16": "FP16"}
_TELEMETRY = "openvino_telemetry"

Shapes = tuple[tuple[int, ...], ...]

# A shape is compiled on its own once it came this often: a compilation costs about 25 ms for
# P-Net, a static program saves a fifth of each run (measured over a pyramid of eight sizes).
# Pictures of ever new sizes stay with the general program.
_OFTEN = 32


# A batch of so many goes through two requests side by side, half the threads each, which wait for
# each other less often than all threads do at every layer. Measured for the encoder in bfloat16 on
# two busy threads: 1.4 times the faces per second at 8, 1.3 at 32; at 2 nothing.
_HALVED = 8

# Held while OpenVINO is imported, started and used for the first time, by whoever comes first.
_STARTING = threading.Lock()


def _openvino() -> Any:
    """The module, ready for several threads.

    Raises:
        BackendUnavailable: it is not installed or does not load here.
    """
    with _STARTING:
        return _started()[0]


def _core() -> Any:
    """One Core for the process: it owns the plug-in, which is costly to load."""
    with _STARTING:
        return _started()[1]


@cache
def _started() -> tuple[Any, Any]:
    """The module and its Core, after one inference.

    The binding sets up its link to numpy when it is first needed: under a C++ static guard, and
    with the interpreter's lock let go and taken again. Two threads that meet there wait for each
    other for ever (seen with OpenVINO 2026.4, two engines loading side by side). So one thread
    goes through all of it alone, in a few milliseconds.
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
    """The module, imported so that it reports nothing to anybody.

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
        raise BackendUnavailable(f"openvino finds no usable CPU: {last_line(error)}") from error
    return tuple(sorted(found))


def describe() -> str:
    """Version, processor and the precision ``auto`` means here.

    Raises:
        BackendUnavailable: OpenVINO does not load here.
    """
    ov = _openvino()
    name = _core().get_property(_DEVICE, ov.properties.device.full_name())
    return f"openvino {ov.__version__.split('-')[0]}, {name}, {choose_precision('auto')}"


def choose_precision(wanted: Precision) -> str:
    """The arithmetic to use.

    Raises:
        BackendUnavailable: the CPU does not have the one asked for.
    """
    if wanted == "auto":
        # OpenVINO's own default, not its capabilities: those list what it only emulates as well.
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
    """The network compiled once, with idle requests to run it: one for each thread inside."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    @contextmanager
    def request(self) -> Iterator[Any]:
        """A request nobody else uses for the time of the block."""
        with self._lock:
            request = self._idle.pop() if self._idle else None
        if request is None:
            request = self._compiled.create_infer_request()
        yield request  # after an error the request is dropped rather than used again
        with self._lock:
            self._idle.append(request)


class OpenVinoEngine(Closing):
    """A network on the CPU.

    One program serves all input shapes; with ``static_shapes`` a shape that comes often gets
    its own, up to ``max_shapes`` of them. See ``Engine`` for the promises.

    Raises:
        BackendUnavailable: OpenVINO or the precision asked for is not there.
        ModelError: the file is missing, damaged or not a network that fits the options.
    """

    def __init__(self, path: Path, *, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        ov = _openvino()
        self._path = path
        self._options = options
        self._precision = choose_precision(options.precision)
        check_model_file(path)
        try:
            self._model = (
                read_int8(_core(), path) if self._precision == "int8" else read_onnx(ov, path)
            )
            own = tuple(spec_of(port) for port in self._model.inputs)
            self._inputs = image_spec(own, options.image_input)
            if options.image_input is not None:
                self._model = with_image_input(ov, self._model, options.image_input)
            self._outputs = tuple(spec_of(port) for port in self._model.outputs)
        except read_errors(ov) as error:
            raise ModelError(f"cannot read the network {path}: {last_line(error)}") from error
        fixed = all(None not in spec.shape for spec in self._inputs)
        self._static_shapes = options.static_shapes and not fixed
        self._halving = _can_halve(self._inputs, self._outputs, options)
        self._halves: _Program | None = None
        self._general: _Program | None = None
        self._static: OrderedDict[Shapes, _Program] = OrderedDict()
        self._seen: OrderedDict[Shapes, int] = OrderedDict()
        self._lock = threading.Lock()
        self._compile_lock = threading.Lock()
        self._closed = False

    @property
    def backend(self) -> str:
        """``openvino``."""
        return "openvino"

    @property
    def device(self) -> str:
        """``CPU``."""
        return _DEVICE

    @property
    def precision(self) -> str:
        """``float32``, ``bfloat16``, ``float16`` or ``int8``."""
        return self._precision

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        return self._outputs

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self._inputs, feeds)
        # Contiguous arrays are read in place, without a copy.
        arrays = [np.ascontiguousarray(feeds[spec.name]) for spec in self._inputs]
        if self._halving and len(arrays[0]) >= _HALVED:
            return self._infer_halves(arrays[0])
        program = self._program(tuple(array.shape for array in arrays))
        try:
            with program.request() as request:
                # For a list the binding asks the request for its inputs, 0.05 ms a call.
                feed = dict(enumerate(arrays))
                results = request.infer(feed, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            self._forget(program)
            raise InferenceError(f"{self._path.name} failed: {last_line(error)}") from error
        return {
            spec.name: np.asarray(results[index], np.float32)
            for index, spec in enumerate(self._outputs)
        }

    def close(self) -> None:
        """Let go of the compiled network; calls under way still end."""
        with self._lock:
            self._closed = True
            self._static.clear()
            self._general = self._halves = None

    def __repr__(self) -> str:
        return f"OpenVinoEngine({self._path.name}, {self._precision})"

    def _program(self, shapes: Shapes) -> _Program:
        """The program of this shape where there is one, else the one for all shapes."""
        with self._lock:
            if self._closed:
                raise InferenceError(f"the engine of {self._path.name} is closed")
            program = self._static.get(shapes)
            if program is not None:
                self._static.move_to_end(shapes)
                return program
            often = self._static_shapes and self._count(shapes) >= _OFTEN
        # While one thread compiles for a shape the others go on with the general program.
        if often and self._compile_lock.acquire(blocking=False):
            try:
                return self._compile_static(shapes)
            finally:
                self._compile_lock.release()
        return self._general_program()

    def _infer_halves(self, array: Array) -> dict[str, NDArray[np.float32]]:
        """A batch of the only input, in two requests at once."""
        with self._lock:
            if self._closed:
                raise InferenceError(f"the engine of {self._path.name} is closed")
        program = self._halves_program()
        middle = (len(array) + 1) // 2
        parts = (array[:middle], array[middle:])
        try:
            with program.request() as first, program.request() as second:
                requests = (first, second)
                for request, part in zip(requests, parts, strict=True):
                    request.start_async({0: part}, share_inputs=True)
                for request in requests:
                    request.wait()
                return {
                    spec.name: np.concatenate(
                        [request.get_output_tensor(index).data for request in requests]
                    ).astype(np.float32, copy=False)
                    for index, spec in enumerate(self._outputs)
                }
        except RuntimeError as error:
            self._forget(program)
            raise InferenceError(f"{self._path.name} failed: {last_line(error)}") from error

    def _halves_program(self) -> _Program:
        program = self._halves
        if program is None:
            with self._compile_lock:
                program = self._halves or _Program(self._compile(self._model, streams=2))
                self._halves = program
        return program

    def _general_program(self) -> _Program:
        program = self._general
        if program is None:
            with self._compile_lock:
                program = self._general or _Program(self._compile(self._model))
                self._general = program
        return program

    def _forget(self, program: _Program) -> None:
        """Compile anew next time: after an error OpenVINO 2026.4 fails on good inputs too."""
        with self._lock:
            if self._general is program:
                self._general = None
            if self._halves is program:
                self._halves = None
            for shapes in [key for key, value in self._static.items() if value is program]:
                del self._static[shapes]

    def _compile_static(self, shapes: Shapes) -> _Program:
        """Compile for one shape and keep it; the caller holds the compile lock."""
        model = self._model.clone()
        try:
            model.reshape({i: list(shape) for i, shape in enumerate(shapes)})
        except RuntimeError as error:
            raise InferenceError(
                f"{self._path.name} cannot have inputs {shapes}: {last_line(error)}"
            ) from error
        program = _Program(self._compile(model))
        log.debug("%s compiled for %s", self._path.name, shapes)
        with self._lock:
            self._seen.pop(shapes, None)
            if not self._closed:
                self._static[shapes] = program
                while len(self._static) > self._options.max_shapes:
                    self._static.popitem(last=False)
        return program

    def _count(self, shapes: Shapes) -> int:
        """How often this shape came lately; the caller holds the lock."""
        times = self._seen.pop(shapes, 0) + 1
        self._seen[shapes] = times
        while len(self._seen) > 8 * self._options.max_shapes:
            self._seen.popitem(last=False)
        return times

    def _compile(self, model: Any, *, streams: int | None = None) -> Any:
        # What an int8 network keeps in floating point is computed in the fastest there is.
        floats = choose_precision("auto") if self._precision == "int8" else self._precision
        # No CACHE_DIR: it saves 0.1 s of a start and 40 ms for each static shape, keeps 39 MB for
        # the encoder, and loads a blob with damaged weights unnoticed (2026.4: NaN came out).
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[floats],
            # One stream over all threads: what a stage waits for is one batch at a time.
            "PERFORMANCE_HINT": "LATENCY",
            # Pinned threads of several engines sit on the same cores and wait for each other.
            "ENABLE_CPU_PINNING": False,
        }
        if self._options.threads is not None:
            config["INFERENCE_NUM_THREADS"] = self._options.threads
        if streams is not None:
            config["NUM_STREAMS"] = streams
        try:
            return _core().compile_model(model, _DEVICE, config)
        except RuntimeError as error:
            raise InferenceError(
                f"{self._path.name} cannot be compiled: {last_line(error)}"
            ) from error


def _can_halve(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], options: EngineOptions
) -> bool:
    """Whether a large batch may go through two requests: there are threads for both, and the
    network has one input and a free batch throughout."""
    threads = options.threads or len(os.sched_getaffinity(0))
    free = all(spec.shape[:1] == (None,) for spec in (*inputs, *outputs))
    return threads >= 2 and len(inputs) == 1 and free and not options.static_shapes
