"""Pixels cross between the processes in the slots of a shared memory."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

PixelFormat = Literal["bgr24", "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "nv12"]

_420 = ((1, 1, 1), (2, 2, 1), (2, 2, 1))
_422 = ((1, 1, 1), (2, 1, 1), (2, 1, 1))
# Of each plane: pixels of the picture to a sample across and down, and bytes of a sample.
PLANES: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "bgr24": ((1, 1, 3),),
    "yuv420p": _420,
    "yuvj420p": _420,
    "yuv422p": _422,
    "yuvj422p": _422,
    "nv12": ((1, 1, 1), (2, 2, 2)),
}


def plane_shapes(pixels: PixelFormat, width: int, height: int) -> list[tuple[int, int]]:
    """Rows and bytes of a row of each plane."""
    return [
        (-(-height // down), -(-width // across) * size) for across, down, size in PLANES[pixels]
    ]


def bytes_of(pixels: PixelFormat, width: int, height: int) -> int:
    return sum(rows * row for rows, row in plane_shapes(pixels, width, height))


def plane_of(frame: VideoFrame, number: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A plane of a frame, without the padding of its rows."""
    plane = frame.planes[number]
    rows, row = shape
    # Alignment may leave the last row shorter than the others.
    lines = np.frombuffer(plane, np.uint8, count=rows * plane.line_size)  # type: ignore[call-overload]
    found: NDArray[np.uint8] = lines.reshape(rows, plane.line_size)[:, :row]
    return found


class Ring:
    """The slots of a decoder, as its parent sees them: read only, and of a fixed size.

    The memory has no name, so that nothing is left of it, and it is sealed: a decoder that cut it
    off would end this process with SIGBUS.

    Args:
        number: distinguishes it from earlier, smaller rings of the same decoder.
        slot_bytes: of each slot.
        on_free: gets ring and slot when the decoder may use it again; from any thread.

    Raises:
        OSError: there is no memory for it.
    """

    def __init__(
        self, number: int, slots: int, slot_bytes: int, on_free: Callable[[int, int], None]
    ) -> None:
        self.number = number
        self.slots = slots
        self.slot_bytes = -(-slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._on_free = on_free
        self._held: set[int] = set()
        # Re-entrant: a picture may be freed by the garbage collector while this thread is here.
        self._lock = threading.RLock()
        size = slots * self.slot_bytes
        self.descriptor = os.memfd_create("facestream-frames", os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, size)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
            self._memory = mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ)
        except BaseException:
            self.close()
            raise

    def hold(self, slot: int) -> None:
        """The decoder has filled a slot; it is not used again before `free`.

        Raises:
            ValueError: there is no such slot, or it is not the decoder's.
        """
        with self._lock:
            if not 0 <= slot < self.slots or slot in self._held:
                raise ValueError(f"slot {slot} is not the decoder's")
            self._held.add(slot)

    def free(self, slot: int) -> None:
        with self._lock:
            self._held.discard(slot)
        self._on_free(self.number, slot)

    @property
    def left(self) -> int:
        """Slots that the decoder may fill."""
        return self.slots - len(self._held)

    def planes(
        self, slot: int, pixels: PixelFormat, width: int, height: int
    ) -> list[NDArray[np.uint8]]:
        """Views of the planes in a slot, read only.

        Raises:
            ValueError: a slot has no room for such a picture.
        """
        if bytes_of(pixels, width, height) > self.slot_bytes:
            raise ValueError(f"{width}x{height} {pixels} is more than a slot holds")
        return views(self._memory, slot * self.slot_bytes, plane_shapes(pixels, width, height))

    def close(self) -> None:
        """Close the descriptor; the memory stays as long as pictures use it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def views(memory: mmap.mmap, at: int, shapes: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """One plane after another from ``at`` on."""
    found = []
    for shape in shapes:
        found.append(np.frombuffer(memory, np.uint8, shape[0] * shape[1], at).reshape(shape))
        at += shape[0] * shape[1]
    return found
