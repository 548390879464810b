"""Whether a first look in bfloat16 pays beside the kernels in C."""

from __future__ import annotations

import time

from facestream.engines.errors import BackendUnavailable
from facestream.engines.openvino import choose_precision

from .cascade import Search, WorkerPool, find_faces
from .parity import scenes
from .stages import Stages

# So much faster it has to be: its results move more from one machine to the next.
_GAIN = 1.15

_RUNS = 5


def computes_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 here unless it is asked for another arithmetic."""
    try:
        return choose_precision("auto") == "bfloat16"
    except BackendUnavailable:
        return False


def screen_pays(kernels: Stages, screened: Stages, search: Search) -> bool:
    """Measures both on the gate's largest scene, in turn, in some hundredths of a second."""
    image = scenes()[-1]
    took: list[list[float]] = [[], []]
    for _ in range(_RUNS):
        for stages, times in zip((kernels, screened), took, strict=True):
            began = time.perf_counter()
            find_faces(image, search, WorkerPool(stages))
            times.append(time.perf_counter() - began)
    return min(took[0]) >= _GAIN * min(took[1])
