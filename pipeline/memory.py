"""Gives memory back that the allocator keeps for itself."""

from __future__ import annotations

import ctypes
import logging
import threading

log = logging.getLogger(__name__)

# glibc gives each thread a heap of its own and keeps what pictures leave there, in pieces: in a
# run of months, with threads that come and go with their cameras, that adds up (measured: 4 MB a
# minute in the first ten). Giving back takes milliseconds. The other remedy, to map every picture
# on its own (M_MMAP_THRESHOLD), costs half as much CPU again in page faults.
EVERY = 30.0


class Trimmer:
    """Trims the heaps every `EVERY` seconds; ``run`` is for a thread of its own."""

    def __init__(self, *, every: float = EVERY) -> None:
        self._every = every
        self._over = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._over.wait(self._every):
            if not trim():
                return

    def stop(self) -> None:
        """End; safe in a signal handler."""
        self._over.set()


def trim() -> bool:
    """Give back what is free now; False where the allocator has no such function."""
    # Part of glibc, and of no other C library.
    call = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if call is None:
        log.debug("this C library cannot give memory back")
        return False
    call(0)
    return True
