"""Keeps the memory of a live run flat.

Python counts objects, not bytes: a lost connection that waits in a reference cycle for the next
collection is a few objects, and a decoder with all its pictures. A run that has been going for a
while collects so seldom that this adds up. Sources and decoders hold each other no more (four RTSP
cameras cut off again and again: 431 to 472 MB before, 383 to 389 MB since); collecting now and then
is for other cycles.

glibc gives each new thread another heap, up to eight a core, and each stays fragmented by what
pictures and decoders left there. In a run of months, with threads that come and go with their
cameras, that adds up: measured with four cameras of MPEG-TS that were cut off every three seconds,
35 MB after 80 reconnections; with one heap that is trimmed, nothing. One heap for all threads
costs 3 % of the CPU of a file run. The other remedy, to map every picture on its own
(M_MMAP_THRESHOLD), costs half as much again in page faults.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import threading

log = logging.getLogger(__name__)

EVERY = 30.0
_M_ARENA_MAX = -8


class Trimmer:
    """Collects and trims every `EVERY` seconds; ``run`` is for a thread of its own.

    It stops all threads for about 60 ms (115,000 objects).
    """

    def __init__(self, *, every: float = EVERY) -> None:
        self._every = every
        self._over = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._over.wait(self._every):
            gc.collect()
            trim()

    def stop(self) -> None:
        """End; safe in a signal handler."""
        self._over.set()


def share_one_heap() -> bool:
    """Let threads that are started from now on share the heaps there are; False where the C
    library has no such setting. It holds for the whole process."""
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    return setting is not None and bool(setting(_M_ARENA_MAX, 1))


def trim() -> bool:
    """Give back what is free now; False where the C library has no such function."""
    call = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if call is None:
        log.debug("this C library cannot give memory back")
        return False
    call(0)
    return True
