"""The interface of a network on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .closing import Closing

Array = NDArray[Any]
Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape (None = any length) and dtype of a network's input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@runtime_checkable
class Engine(Protocol):
    """A network on a device; ``infer`` is thread-safe and its results are never overwritten."""

    @property
    def backend(self) -> str:
        """E.g. ``openvino``."""
        ...

    @property
    def device(self) -> str:
        """E.g. ``CPU`` or ``cuda:0``."""
        ...

    @property
    def precision(self) -> str:
        """The arithmetic in use, e.g. ``float32`` or ``bfloat16``."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once.

        Args:
            feeds: one array per input, with the input's dtype and a shape that fits its spec.

        Returns:
            One float32 array per output.

        Raises:
            InferenceError: a feed is missing, has a wrong shape or dtype, or the network failed.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BaseEngine(Closing):
    """The attributes that the engines share; see ``Engine``.

    Attributes:
        reason: why no better backend serves; set by ``serve``.
    """

    backend: str
    device: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reason: str = ""
