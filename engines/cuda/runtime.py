"""Calls into the CUDA runtime, their errors in one line with CUDA's own name.

https://nvidia.github.io/cuda-python/cuda-bindings/latest/module/runtime.html: every function
returns a tuple that begins with a ``cudaError_t``. Versions 12 and 13 agree in all that is used.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from ..errors import BackendUnavailable, InferenceError

INSTALL = "pip install cuda-bindings"


@cache
def runtime() -> Any:
    """The module ``cuda.bindings.runtime``.

    Raises:
        BackendUnavailable: it is not installed or does not load; says how to get it.
    """
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"cuda-bindings is not installed: {INSTALL}") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendUnavailable(
            f"cuda-bindings does not load ({error}); install it again: {INSTALL}"
        ) from error


def call(name: str, *arguments: Any) -> Any:
    """Call a function of the runtime, e.g. ``cudaMalloc``.

    Returns:
        None, one value, or a tuple of several.

    Raises:
        BackendUnavailable: there is no binding.
        InferenceError: the call failed; begins with CUDA's name, e.g.
            ``cudaErrorMemoryAllocation``.
    """
    module = runtime()
    error, *values = getattr(module, name)(*arguments)
    if error != module.cudaError_t.cudaSuccess:
        module.cudaGetLastError()  # else the next call would report it once more
        raise InferenceError(f"{error.name}: {_text(module, error)} ({name})")
    if len(values) > 1:
        return tuple(values)
    return values[0] if values else None


def kind(enumeration: str, value: str) -> Any:
    """A value of one of the runtime's enumerations, e.g. of ``cudaMemcpyKind``."""
    return getattr(getattr(runtime(), enumeration), value)


def _text(module: Any, error: Any) -> str:
    failed, text = module.cudaGetErrorString(error)
    known = failed == module.cudaError_t.cudaSuccess and isinstance(text, bytes)
    return text.decode(errors="replace") if known else "no text"
