"""What torch needs on a CUDA device: streams, CUDA graphs, float32 without TF32.

Imported only where torch serves. https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from .base import TensorSpec
from .buckets import split_batch
from .cuda.locks import process_lock
from .often import Often
from .options import EngineOptions

log = logging.getLogger(__name__)

Feeds = Mapping[str, torch.Tensor]
Tensors = dict[str, torch.Tensor]
Shapes = tuple[tuple[int, ...], ...]

# What torch.cuda.graphs asks for: kernels are chosen and memory is taken before the capture.
_WARM_UPS = 3

# A graph's results may differ from a launch's by the last digits where another kernel was taken.
_TOLERANCE = 1e-2

_DTYPES = {"float32": torch.float32, "uint8": torch.uint8}

_STREAMS = 4


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Without TF32, which cuDNN's convolutions use by default.

    The setting belongs to the process: calls on a CUDA device take turns in launching.
    """
    if device.type == "cpu":
        yield
        return
    with process_lock, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream that is not the default one, on which nothing can be captured."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Streams:
    """A few streams in turn, so that callers on several threads do not wait for each other."""

    def __init__(self, device: torch.device) -> None:
        streams = [new_stream(device) for _ in range(_STREAMS)]
        self._streams = itertools.cycle(streams)
        self._lock = threading.Lock()

    def next(self) -> AbstractContextManager[Any]:
        """The next one, as the current stream of a ``with`` block."""
        with self._lock:
            stream = next(self._streams)
        return torch.cuda.stream(stream)


@dataclass
class _Captured:
    """A CUDA graph with the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Tensors
    outputs: Tensors


@dataclass(frozen=True)
class GraphCounts:
    """How many CUDA graphs there are, and how many captures failed."""

    captured: int = 0
    failed: int = 0


@dataclass
class Replays:
    """A network's CUDA graphs, one for each shape that is known or comes often.

    All of them share one pool of memory, so they run one after another: a lock orders the
    callers, an event the streams. What does not fit a graph is left to plain launches.
    """

    launch: Callable[[Feeds], Tensors]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    options: EngineOptions
    device: torch.device
    name: str = "the network"
    _graphs: OrderedDict[Shapes, _Captured] = field(default_factory=OrderedDict)
    _failed: set[Shapes] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._stream = new_stream(self.device)
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._often = Often(8 * self.options.max_shapes)
        self._buckets: tuple[int, ...] = ()

    @property
    def counts(self) -> GraphCounts:
        """Of the graphs there are now."""
        with self._lock:
            return GraphCounts(len(self._graphs), len(self._failed))

    def capture_batches(self) -> None:
        """Capture the batch sizes that come, where nothing else of the shape is free."""
        rest = self._rest()
        shapes = self.options.shapes
        if rest is None or shapes is None:
            return
        sizes = sorted(set(shapes.batches), reverse=True)
        # The largest first: the others then fit into the memory it took.
        captured = [size for size in sizes if self._capture(self._made_up((size, *rest)))]
        self._buckets = tuple(reversed(captured))

    def run(self, feeds: Feeds) -> Tensors | None:
        """The outputs, or None where plain launches are to be used."""
        if torch.cuda.is_current_stream_capturing():
            return None
        with self._lock, torch.inference_mode():
            if self._buckets:
                return self._in_parts(feeds)
            captured = self._of_shape(feeds)
            return None if captured is None else self._replay(captured, feeds)

    def close(self) -> None:
        """Free the graphs and their memory, after the last of them has run."""
        with self._lock:
            if self._graphs:
                self._done.synchronize()
            self._graphs.clear()
            self._buckets = ()

    def _in_parts(self, feeds: Feeds) -> Tensors:
        """A batch of any size in the sizes that are captured."""
        count = feeds[self.inputs[0].name].shape[0]
        parts = []
        for part in split_batch(count, self._buckets):
            rows = {name: tensor[part.start : part.stop] for name, tensor in feeds.items()}
            key = tuple((part.size, *rows[spec.name].shape[1:]) for spec in self.inputs)
            captured = self._graphs.get(key)
            if captured is None:  # another picture size than the graphs have
                return self.launch(feeds)
            found = self._replay(captured, rows)
            parts.append({name: tensor[: part.rows] for name, tensor in found.items()})
        if len(parts) == 1:
            return parts[0]
        return {spec.name: torch.cat([part[spec.name] for part in parts]) for spec in self.outputs}

    def _of_shape(self, feeds: Feeds) -> _Captured | None:
        """The graph of exactly this shape; captured now if it came often enough."""
        if not self.options.static_shapes:
            return None
        key = self._key(feeds)
        captured = self._graphs.get(key)
        if captured is None and key not in self._failed and self._often.seen(key):
            captured = self._capture(feeds)
            self._often.forget(key)  # one that goes has to come often again
            while len(self._graphs) > self.options.max_shapes:
                self._done.synchronize()
                self._graphs.popitem(last=False)
        elif captured is not None:
            self._graphs.move_to_end(key)
        return captured

    def _replay(self, captured: _Captured, feeds: Feeds) -> Tensors:
        """Run a graph, its inputs filled from the front; the caller holds the lock."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(self._done)
        for name, tensor in captured.inputs.items():
            into = tensor[: len(feeds[name])] if tensor.ndim else tensor
            into.copy_(feeds[name], non_blocking=True)
        captured.graph.replay()
        # Copied: the graph writes to the same place again.
        results = {name: tensor.clone() for name, tensor in captured.outputs.items()}
        self._done.record(stream)
        return results

    def _capture(self, feeds: Feeds) -> _Captured | None:
        """A graph of these shapes, or None (and a warning, once) where CUDA makes none."""
        key = self._key(feeds)
        before = torch.cuda.current_stream(self.device)
        with process_lock:
            try:
                captured = self._captured(feeds)
            except RuntimeError as error:
                torch.cuda.set_stream(before)  # torch.cuda.graph leaves its own when it fails
                if not self._failed:
                    reason = (str(error).splitlines() or ["no reason given"])[0]
                    log.warning("%s runs without CUDA graphs: %s", self.name, reason)
                self._failed.add(key)
                return None
        self._graphs[key] = captured
        return captured

    def _captured(self, feeds: Feeds) -> _Captured:
        inputs = {name: tensor.clone() for name, tensor in feeds.items()}
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.inference_mode():
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UPS):
                    expected = self.launch(inputs)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the device meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                outputs = self.launch(inputs)
            with torch.cuda.stream(self._stream):
                graph.replay()
                close = all(
                    torch.allclose(outputs[name], expected[name], _TOLERANCE, _TOLERANCE)
                    for name in outputs
                )
                self._done.record(self._stream)
        if not close:
            raise RuntimeError("a captured graph gives other results than plain launches")
        return _Captured(graph, inputs, outputs)

    def _key(self, feeds: Feeds) -> Shapes:
        return tuple(tuple(feeds[spec.name].shape) for spec in self.inputs)

    def _rest(self) -> tuple[int, ...] | None:
        """All lengths but the batch, or None where more than the batch is free."""
        shapes = self.options.shapes
        free = all(spec.shape and spec.shape[0] is None for spec in (*self.inputs, *self.outputs))
        if shapes is None or len(self.inputs) != 1 or not free:
            return None
        if self.options.image_input is None:
            return shapes.least[1:] if shapes.least[1:] == shapes.most[1:] else None
        rest = tuple(length for length in self.inputs[0].shape[1:] if length is not None)
        return rest if len(rest) == len(self.inputs[0].shape) - 1 else None

    def _made_up(self, shape: tuple[int, ...]) -> Tensors:
        """An input of noise, so that a graph that computes nothing does not pass as right."""
        spec = self.inputs[0]
        noise = torch.Generator(self.device).manual_seed(0)
        values = torch.rand(shape, device=self.device, generator=noise)
        scale = 255 if spec.dtype.name == "uint8" else 1
        return {spec.name: (values * scale).to(_DTYPES[spec.dtype.name])}
