"""Searches captured as CUDA graphs: some hundred kernels for the price of one launch.

No shape in a search depends on data, so a whole search is captured once it is frequent, for one
image size, batch and list length. https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from facestream.engines.cuda.streams import process_lock
from torch import Tensor

from .cascade import Found

log = logging.getLogger(__name__)

# Captured searches; each keeps the memory of a whole batch.
MOST = 4

# A search is captured at this run; runs are counted for this many kinds of searches.
FREQUENT = 32
WATCHED = 64

# As torch.cuda.graphs asks for: kernels are chosen and memory is allocated before the capture.
_WARM_UPS = 3

# Another kernel than in a plain launch may change the last digits.
_TOLERANCE = 1e-2

Launch = Callable[[Tensor], Found]


@dataclass
class _Recording:
    """A CUDA graph with the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    frames: Tensor
    found: Found

    def replay(self, frames: Tensor) -> Found:
        self.frames.copy_(frames, non_blocking=True)
        self.graph.replay()
        # Copied: the graph writes to the same place again.
        return Found(*(tensor.clone() for tensor in self.found))


class Recordings:
    """The captured searches of a detector, for one caller and stream; on the CPU there are none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runs: OrderedDict[Hashable, int] = OrderedDict()
        self._kept: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._failed: set[Hashable] = set()

    @property
    def captured(self) -> int:
        """How many searches are captured now."""
        return len(self._kept)

    def run(self, key: Hashable, launch: Launch, frames: Tensor) -> Found:
        """The result of ``launch`` for frames B×H×W×3 uint8 and all else it depends on, ``key``."""
        if self._device.type == "cpu":
            return launch(frames)
        recording = self._kept.get(key)
        if recording is None and self._is_frequent(key):
            recording = self._record(key, launch, frames)
        if recording is None:
            return launch(frames)
        self._kept.move_to_end(key)
        with torch.inference_mode():
            return recording.replay(frames)

    def close(self) -> None:
        """Free them, after the last of them has run."""
        if self._kept:
            torch.cuda.synchronize(self._device)
        self._kept.clear()

    def _is_frequent(self, key: Hashable) -> bool:
        """Count a run; whether a search that is not captured should be."""
        runs = self._runs.pop(key, 0) + 1
        self._runs[key] = runs
        if len(self._runs) > WATCHED:
            self._runs.popitem(last=False)
        return runs >= FREQUENT and key not in self._failed

    def _record(self, key: Hashable, launch: Launch, frames: Tensor) -> _Recording | None:
        """Capture a search; None and a warning, once, where that fails."""
        before = torch.cuda.current_stream(self._device)
        with process_lock:
            try:
                recording = _capture(launch, frames, self._device)
            except RuntimeError as error:
                torch.cuda.set_stream(before)  # torch.cuda.graph leaves its own after an error
                if not self._failed:
                    reason = (str(error).splitlines() or ["no reason given"])[0]
                    log.warning("the detector runs without CUDA graphs: %s", reason)
                self._failed.add(key)
                return None
        del self._runs[key]  # one that is dropped has to become frequent again
        self._kept[key] = recording
        if len(self._kept) > MOST:
            torch.cuda.synchronize(self._device)
            self._kept.popitem(last=False)
        return recording


def alike(found: Found, expected: Found) -> bool:
    """Whether two results differ by no more than another kernel's rounding."""
    pairs = zip(found, expected, strict=True)
    return all(torch.allclose(a, b, _TOLERANCE, _TOLERANCE, equal_nan=True) for a, b in pairs)


def _capture(launch: Launch, frames: Tensor, device: torch.device) -> _Recording:
    """The graph of a search, after it gave the results of a plain launch."""
    frames = frames.clone()
    # Nothing can be captured on the default stream.
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    current = torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.inference_mode():
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                expected = launch(frames)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            found = launch(frames)
        with torch.cuda.stream(stream):
            graph.replay()
            same = alike(found, expected)
    current.wait_stream(stream)
    if not same:
        raise RuntimeError("a captured graph gives other results than plain launches")
    return _Recording(graph, frames, found)
