"""Searches recorded as CUDA graphs: some hundred kernels at the price of one launch.

A search has no shape that depends on data, so the whole of it can be recorded once it comes
often, for one size of picture, number of pictures and length of lists. The engine's own
``Replays`` do it, with their check that a replay gives what a launch gives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import torch
from facestream.engines.base import TensorSpec
from facestream.engines.options import EngineOptions
from facestream.engines.torch_cuda import Replays
from torch import Tensor

from .cascade import Found

# Recorded searches; each keeps the memory of a whole batch.
_MOST = 4

# Searches of which is known how often they came.
_WATCHED = 64

_OPTIONS = EngineOptions(static_shapes=True, max_shapes=1)
_OUTPUTS = (
    TensorSpec("faces", (None, None), np.dtype(np.float32)),
    TensorSpec("needed", (None,), np.dtype(np.int64)),
)


class Recordings:
    """The recorded searches of a detector; on the CPU there are none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: OrderedDict[Hashable, Replays] = OrderedDict()

    def run(self, key: Hashable, launch: Callable[[Tensor], Found], frames: Tensor) -> Found:
        """What ``launch`` gives for these frames.

        Args:
            key: names all that ``launch`` hangs on, but the frames.
            launch: the search.
            frames: B×H×W×3 uint8.
        """
        if self._device.type == "cpu":
            return launch(frames)
        replays = self._kept.get(key)
        if replays is None:
            replays = self._kept[key] = self._replays(launch, frames)
            if len(self._kept) > _WATCHED:
                self._kept.popitem(last=False)[1].close()
        self._kept.move_to_end(key)
        found = replays.run({"frames": frames})
        recorded = [name for name, other in self._kept.items() if other.counts.captured]
        for name in recorded[:-_MOST]:
            self._kept.pop(name).close()
        return launch(frames) if found is None else Found(found["faces"], found["needed"])

    def close(self) -> None:
        """Free them, after the last of them has run."""
        for replays in self._kept.values():
            replays.close()
        self._kept.clear()

    def _replays(self, launch: Callable[[Tensor], Found], frames: Tensor) -> Replays:
        inputs = (TensorSpec("frames", tuple(frames.shape), np.dtype(np.uint8)),)
        return Replays(
            lambda feeds: launch(feeds["frames"])._asdict(),
            inputs,
            _OUTPUTS,
            _OPTIONS,
            self._device,
            "the detector",
        )
