"""TensorRT or TensorRT-RTX: one Python API in two modules, and where they differ."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from ..errors import BackendUnavailable

log = logging.getLogger(__name__)
_messages = logging.getLogger(f"{__name__}.messages")

FlavourName = Literal["tensorrt", "tensorrt_rtx"]

OLDEST = (10, 8)
"""The oldest TensorRT whose Python API this is written for."""

INSTALL: dict[FlavourName, str] = {
    "tensorrt": "pip install tensorrt cuda-bindings onnx",
    "tensorrt_rtx": "pip install tensorrt-rtx-cu13 cuda-bindings onnx",
}


@dataclass(frozen=True, slots=True)
class Flavour:
    """A module that builds and runs plans.

    Attributes:
        name: of the module.
        version: as the module says it, e.g. ``11.4.1.3``; a plan runs on the version that built it.
        module: the module itself.
    """

    name: FlavourName
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

    @property
    def keeps_timings(self) -> bool:
        """Whether a timing cache makes the next build quicker.

        TensorRT-RTX times nothing; its timing cache has no effect, and asking for one demands a
        GPU (TensorRT-RTX documentation, "Timing Cache Migration").
        """
        return self.name == "tensorrt"


def find_flavour(wanted: FlavourName | Literal["auto"] = "auto") -> Flavour:
    """The module that is installed; TensorRT before TensorRT-RTX.

    Raises:
        BackendUnavailable: neither is, or it does not load or is too old; says how to get it.
        ValueError: there is no such flavour.
    """
    names = get_args(FlavourName)
    if wanted != "auto" and wanted not in names:
        raise ValueError(f"no flavour '{wanted}'; choose auto, {', '.join(names)}")
    reasons = []
    for name in names if wanted == "auto" else (wanted,):
        try:
            return _load(name)
        except BackendUnavailable as error:
            reasons.append(str(error))
    raise BackendUnavailable("; ".join(reasons))


def trt_logger(flavour: Flavour) -> Any:
    """The ``ILogger`` that hands TensorRT's messages to ``logging``; one for the process.

    Its ``problem`` is the last error.
    """
    return _logger(flavour.module)


@cache
def _load(name: FlavourName) -> Flavour:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = "is not installed" if error.name == name else f"does not load ({error})"
        raise BackendUnavailable(f"{name} {missing}: {INSTALL[name]}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendUnavailable(
            f"{name} does not load ({error}); install it again: {INSTALL[name]}"
        ) from error
    version = str(module.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if name == "tensorrt" and numbers < OLDEST:
        raise BackendUnavailable(
            f"tensorrt {version} is older than {'.'.join(map(str, OLDEST))}: {INSTALL[name]}"
        )
    return Flavour(name, version, module)


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
                level = logging.INFO  # whoever asked for what failed says so, with this
            if level:
                _messages.log(level, "%s", message.strip())

    return Messages()
