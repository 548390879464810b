"""Reusable memory on the device and pinned memory on the host, grown on demand."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..closing import Closing
from .runtime import call

Place = Literal["device", "pinned"]

# TensorRT wants its scratch memory aligned to this, and it is what cudaMalloc gives.
_ALIGNMENT = 256


def grown(have: int, need: int) -> int:
    """The new size in bytes of a buffer of ``have`` bytes that needs ``need``.

    Never fewer than before. When it must grow it grows by half at least, so that sizes that
    creep up cost few allocations, and to a multiple of 256.
    """
    if need <= have:
        return have
    wanted = max(need, have + have // 2)
    return -(-wanted // _ALIGNMENT) * _ALIGNMENT


class Buffer(Closing):
    """Bytes in one place; empty until they are asked for.

    Attributes:
        address: of the first byte; 0 while empty.
        size: in bytes.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.address = 0
        self.size = 0

    def reserve(self, need: int) -> bool:
        """Hold at least so many bytes; returns whether the address changed.

        What was in it is lost when it grows, so nothing may be using it then.

        Raises:
            InferenceError: there is not so much memory; the buffer is empty then.
        """
        size = grown(self.size, max(need, 1))
        if size == self.size:
            return False
        self.close()
        self.address = int(
            call("cudaMalloc" if self._place == "device" else "cudaMallocHost", size)
        )
        self.size = size
        return True

    def close(self) -> None:
        """Give the memory back."""
        address, self.address, self.size = self.address, 0, 0
        if address:
            call("cudaFree" if self._place == "device" else "cudaFreeHost", address)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """The beginning of a pinned buffer as an array; valid until it grows or is closed.

        Raises:
            ValueError: it is on the device, or too small.
        """
        kind = np.dtype(dtype)
        need = kind.itemsize * math.prod(shape)
        if self._place != "pinned" or need > self.size:
            raise ValueError(f"no {shape} {kind} in {self.size} bytes of {self._place} memory")
        memory = np.ctypeslib.as_array((ctypes.c_ubyte * need).from_address(self.address))
        return memory.view(kind).reshape(shape)


class Arena(Closing):
    """Buffers by name, each as large as the largest that was asked of it.

    Attributes:
        generation: raised whenever an address changes; a CUDA graph captured before that writes
            to memory that is gone.
    """

    def __init__(self, place: Place, *, make: Callable[[Place], Buffer] = Buffer) -> None:
        self._place = place
        self._make = make
        self._buffers: dict[str, Buffer] = {}
        self.generation = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(buffer.size for buffer in self._buffers.values())

    def reserve(self, name: str, need: int) -> Buffer:
        """The buffer of that name, of at least so many bytes.

        Raises:
            InferenceError: there is not so much memory.
        """
        buffer = self._buffers.get(name)
        if buffer is None:
            buffer = self._buffers[name] = self._make(self._place)
        if need > buffer.size:
            self.generation += 1  # also when it fails: the old memory is gone then
            buffer.reserve(need)
        return buffer

    def close(self) -> None:
        """Give all memory back."""
        while self._buffers:
            self._buffers.popitem()[1].close()
