"""How much memory this process uses."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_STATM = Path("/proc/self/statm")


def memory_bytes() -> dict[str, int]:
    """``resident`` now, where the system says so, and ``peak`` so far."""
    sizes = {"peak": peak_memory_bytes()}
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return sizes  # no Linux
    return {"resident": pages * os.sysconf("SC_PAGE_SIZE"), **sizes}


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
