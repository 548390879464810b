"""TensorRT or TensorRT-RTX: one Python API in two modules, their differences and requirements."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from ..cuda.runtime import call, runtime
from ..devices import CudaDevice, cuda_devices, driver_report
from ..errors import BackendUnavailable, InferenceError

log = logging.getLogger(__name__)
_messages = logging.getLogger(f"{__name__}.messages")

VariantName = Literal["tensorrt", "tensorrt_rtx"]

OLDEST = (10, 8)
"""The oldest TensorRT whose Python API this is written for."""

# The packages for CUDA 13, which a driver for CUDA 12 does not run, and those for CUDA 12.
_PACKAGES: dict[VariantName, tuple[str, str]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu12"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
}


def install_command(name: VariantName) -> str:
    """How to install a variant that the driver of this machine runs."""
    driver = driver_report().version
    old = driver is not None and driver[0] < 13
    bindings = "'cuda-bindings<13'" if old else "cuda-bindings"
    return f"pip install {_PACKAGES[name][old]} {bindings} onnx"


@dataclass(frozen=True, slots=True)
class Variant:
    """A module that builds and runs plans.

    Attributes:
        name: of the module.
        version: as the module says it, e.g. ``11.4.1.3``; a plan runs on the version that built it.
        module: the module itself.
    """

    name: VariantName
    version: str
    module: Any

    @property
    def targets(self) -> tuple[str, ...]:
        """GPU architectures it builds for without having one, e.g. ``("sm75", …)``.

        Empty for ``tensorrt``, which times its kernels on the GPU it builds for.
        """
        kinds = getattr(self.module, "ComputeCapability", None)
        if self.name != "tensorrt_rtx" or kinds is None:
            return ()
        return tuple(name.lower() for name in kinds.__members__ if name.startswith("SM"))

    def check_target(self, target: str) -> None:
        """Raise BackendUnavailable for an architecture that it does not build for."""
        if self.targets and target not in self.targets:
            raise BackendUnavailable(
                f"{self.name} {self.version} builds nothing for {target}, only for "
                f"{', '.join(self.targets)}; other GPUs need tensorrt"
            )

    @property
    def keeps_timings(self) -> bool:
        """Whether a timing cache makes the next build quicker.

        TensorRT-RTX times nothing; its timing cache has no effect, and asking for one demands a
        GPU (TensorRT-RTX documentation, "Timing Cache Migration").
        """
        return self.name == "tensorrt"


def find_variant(wanted: VariantName | Literal["auto"] = "auto") -> Variant:
    """The module that is installed; TensorRT before TensorRT-RTX.

    Raises:
        BackendUnavailable: neither is, or it does not load or is too old; says how to get it.
        ValueError: there is no such variant.
    """
    names = get_args(VariantName)
    if wanted != "auto" and wanted not in names:
        raise ValueError(f"no variant '{wanted}'; choose auto, {', '.join(names)}")
    reasons = []
    for name in names if wanted == "auto" else (wanted,):
        try:
            return _load(name)
        except BackendUnavailable as error:
            reasons.append(str(error))
    raise BackendUnavailable("; ".join(reasons))


def trt_logger(variant: Variant) -> Any:
    """The ``ILogger`` that passes TensorRT's messages to ``logging``; one per process.

    Its ``problem`` is the last error.
    """
    return _logger(variant.module)


def check_requirements() -> tuple[Variant, CudaDevice]:
    """The variant that runs here and the card it runs on.

    Raises:
        BackendUnavailable: something is missing; names all of it in one line.
    """
    missing = []
    devices = cuda_devices()
    if not devices:
        missing.append(driver_report().problem or "no CUDA device")
    variant = None
    try:
        variant = find_variant()
        if devices:
            variant.check_target(devices[0].architecture)
    except BackendUnavailable as error:
        missing.append(str(error))
    try:
        _check_runtime("tensorrt" if variant is None else variant.name, has_device=bool(devices))
    except BackendUnavailable as error:
        missing.append(str(error))
    if variant is None or missing:
        raise BackendUnavailable("tensorrt cannot run here: " + "; ".join(missing))
    return variant, devices[0]


def _check_runtime(name: VariantName, *, has_device: bool) -> None:
    """Raise BackendUnavailable unless the CUDA runtime loads and the driver supports it."""
    runtime()
    if not has_device:
        return
    needs, has = int(call("cudaRuntimeGetVersion")) // 1000, driver_report().version
    if has is not None and needs > has[0]:  # within a major version any runtime works
        raise BackendUnavailable(
            f"cuda-bindings is for CUDA {needs}, the driver for CUDA {has[0]}.{has[1]}: "
            f"{install_command(name)}, or a newer driver"
        )
    try:
        call("cudaGetDeviceCount")
    except InferenceError as error:
        raise BackendUnavailable(f"the CUDA runtime does not start: {error}") from error


@cache
def _load(name: VariantName) -> Variant:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = "is not installed" if error.name == name else f"does not load ({error})"
        raise BackendUnavailable(f"{name} {missing}: {install_command(name)}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendUnavailable(
            f"{name} does not load ({error}); install it again: {install_command(name)}"
        ) from error
    version = str(module.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "tensorrt" and numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise BackendUnavailable(
            f"tensorrt {version} is older than {oldest}: {install_command(name)}"
        )
    return Variant(name, version, module)


@cache
def _logger(module: Any) -> Any:
    severity = module.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
        severity.VERBOSE: logging.NOTSET,  # thousands of lines a build: dropped
    }

    class Messages(module.ILogger):  # type: ignore[misc]  # the module has no types
        def __init__(self) -> None:
            super().__init__()
            self.problem = ""  # the last error, for messages of our own

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.ERROR)
            if level == logging.ERROR:
                self.problem = message.strip()
                level = logging.INFO  # the caller raises an error with this text
            if level:
                _messages.log(level, "%s", message.strip())

    return Messages()
