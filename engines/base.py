"""What a network and a vector index look like from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

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
    """A network on a device.

    ``infer`` may be called from several threads. The arrays it returns belong to the caller:
    they are never overwritten by a later call.
    """

    @property
    def backend(self) -> str:
        """Backend that serves, e.g. ``openvino``."""
        ...

    @property
    def device(self) -> str:
        """Device it runs on, e.g. ``CPU`` or ``cuda:0``."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic it really runs in, e.g. ``float32`` or ``bfloat16``."""
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


@runtime_checkable
class Index(Protocol):
    """Nearest neighbours by inner product over L2-normalised vectors, each with an id."""

    @property
    def dim(self) -> int: ...

    @property
    def kind(self) -> str:
        """How it searches, e.g. ``flat`` or ``gpu``."""
        ...

    @property
    def device(self) -> str:
        """Where it searches, e.g. ``CPU`` or ``cuda:0``."""
        ...

    @property
    def reason(self) -> str:
        """Why so, in words."""
        ...

    def __len__(self) -> int: ...

    def add(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add vectors N×D with ids N.

        Raises:
            ValueError: shapes do not fit, an id is already there, or a vector is not finite.
        """
        ...

    def remove(self, ids: NDArray[np.int64]) -> int:
        """Remove these ids; returns how many were there."""
        ...

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest of each query.

        Args:
            queries: M×D, L2-normalised.
            k: at least 1.

        Returns:
            Similarities M×k (descending) and ids M×k; where fewer than k vectors exist the rest
            is −inf and −1.
        """
        ...
