"""Reusable memory on the device and pinned memory on the host, grown on demand."""

from __future__ import annotations

import ctypes
import math
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..closing import Closing
from .runtime import call

Place = Literal["device", "pinned"]


class Buffer(Closing):
    """Memory in one place; empty until it is reserved.

    Attributes:
        address: of the first byte; 0 while empty.
        size: in bytes.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.address = 0
        self.size = 0

    def reserve(self, need: int) -> None:
        """Hold at least ``need`` bytes.

        The content is lost when it grows, so nothing may be using it then. It grows by at least
        half, so that slowly rising sizes cost few allocations.

        Raises:
            InferenceError: memory is short; the buffer is empty then.
        """
        if self.size >= max(need, 1):
            return
        size = max(need, self.size + self.size // 2, 1)
        self.close()
        self.address = int(
            call("cudaMalloc" if self._place == "device" else "cudaMallocHost", size)
        )
        self.size = size

    def close(self) -> None:
        """Free the memory."""
        address, self.address, self.size = self.address, 0, 0
        if address:
            call("cudaFree" if self._place == "device" else "cudaFreeHost", address)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """The start of a pinned buffer as an array; valid until it grows or is closed.

        Raises:
            ValueError: it is on the device, or too small.
        """
        kind = np.dtype(dtype)
        need = kind.itemsize * math.prod(shape)
        if self._place != "pinned" or need > self.size:
            raise ValueError(f"no {shape} {kind} in {self.size} bytes of {self._place} memory")
        memory = np.ctypeslib.as_array((ctypes.c_ubyte * need).from_address(self.address))
        return memory.view(kind).reshape(shape)
