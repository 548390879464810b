"""Runs a plan for one caller at a time: a stream, memory, execution contexts and CUDA graphs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array, TensorSpec
from ..closing import Closing
from ..cuda.memory import Arena
from ..cuda.streams import Graph, Stream
from ..errors import InferenceError
from .batches import Shape
from .loading import LoadedPlan

log = logging.getLogger(__name__)

_SCRATCH = "scratch"

# A graph runs the same kernels as a plain run; anything beyond rounding is a broken capture.
_TOLERANCE = 1e-3


@dataclass(slots=True)
class GraphCounts:
    """CUDA graphs of an engine: captured, and captures that failed."""

    captured: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Bound:
    """A context with everything set for one shape; nothing of it may change once captured.

    The graph holds the state its context had: shapes, addresses, scratch memory, profile. So a
    context that was captured serves its one shape for good, and other shapes have their own.
    """

    context: Any
    shapes: dict[str, Shape]
    generation: tuple[int, int]
    graph: Graph | None = None


class PlanRunner(Closing):
    """Runs a plan for one caller at a time.

    A run is: rows into pinned memory, a copy to the device, the network, a copy of each output
    to pinned memory, all in order on one stream. For captured shapes these are one CUDA graph.
    With two runners the copies of one overlap the computing of the other.

    Args:
        plan: on the GPU.
        inputs: of the plan, of which there is one.
        outputs: of the plan.
        counts: of the engine's CUDA graphs, added to.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        counts: GraphCounts,
    ) -> None:
        self._plan = plan
        self._input = inputs[0]
        self._outputs = outputs
        self._counts = counts
        self._device = Arena("device")
        self._pinned = Arena("pinned")
        self._stream = Stream()
        self._captured: dict[Shape, _Bound] = {}
        self._dynamic: Any = None
        self._running: dict[str, Shape] | None = None

    def make_room(self, shape: Shape) -> None:
        """Allocate for this shape, the largest: later captures then need no new memory.

        Raises:
            InferenceError: the plan does not take the shape, or there is not so much memory.
        """
        self._bind(self._dynamic_context(), shape)

    def capture(self, shape: Shape) -> None:
        """Bind a context to this shape and capture its graph; warns once where that fails.

        Raises:
            InferenceError: the plan does not take the shape, or it failed.
        """
        context = self._new_context(own_graphs=False)
        shapes = self._bind(context, shape)
        bound = _Bound(context, shapes, self._generation())
        self._fill_with_noise(shape)
        # Lazy initialisation happens in the first run and cannot be captured.
        self._put_run(context, shapes)
        self._stream.synchronize()
        try:
            bound.graph = self._checked_graph(bound)
            self._counts.captured += 1
        except InferenceError as error:
            if not self._counts.failed:
                name = self._plan.manifest.network
                log.warning("%s runs without CUDA graphs: %s", name, error)
            self._counts.failed += 1
        self._captured[shape] = bound

    def has_captured(self, shape: Shape) -> bool:
        """Whether this shape has a context of its own with valid addresses."""
        bound = self._captured.get(shape)
        if bound is not None and bound.generation != self._generation():
            self._drop(shape)  # memory has moved since the capture
            return False
        return bound is not None

    def start(self, rows: Array, shape: Shape) -> None:
        """Put a run on the stream; it is not waited for.

        Args:
            rows: N×…, at most as many as ``shape`` has; the others keep what was there.
            shape: of the input as the plan sees it.

        Raises:
            InferenceError: the plan does not take the shape, or it failed.
        """
        bound = self._captured[shape] if self.has_captured(shape) else None
        if bound is None:
            context = self._dynamic_context()
            shapes = self._bind(context, shape)
        else:
            context, shapes = bound.context, bound.shapes
        pinned = self._host(self._input, shape)
        np.copyto(pinned[: len(rows)] if rows.ndim else pinned, rows)
        if bound is None or bound.graph is None:
            self._put_run(context, shapes)
        else:
            bound.graph.launch(self._stream)
        self._running = shapes

    def finish(self, rows: int) -> dict[str, NDArray[np.float32]]:
        """Wait for the run that was started; the first ``rows`` of its outputs, copied.

        Raises:
            InferenceError: it failed on the device.
        """
        shapes, self._running = self._running, None
        if shapes is None:
            raise InferenceError("no run was started")
        self._stream.synchronize()
        whole = rows == shapes[self._input.name][0]
        views = {spec.name: self._host(spec, shapes[spec.name]) for spec in self._outputs}
        return {name: (view if whole else view[:rows]).copy() for name, view in views.items()}

    def close(self) -> None:
        """Give all memory back, after what is running has ended."""
        if self._stream.raw is None:
            return
        self._stream.synchronize()
        for shape in list(self._captured):
            self._drop(shape)
        self._dynamic = None
        for part in (self._device, self._pinned, self._stream):
            part.close()

    def _dynamic_context(self) -> Any:
        """The context for shapes that are not captured, set for every run."""
        if self._dynamic is None:
            self._dynamic = self._new_context(own_graphs=True)
        return self._dynamic

    def _new_context(self, *, own_graphs: bool) -> Any:
        """A context; a runner's contexts run one after another and share their scratch memory."""
        context = self._plan.context(own_graphs=own_graphs)
        scratch = self._device.reserve(_SCRATCH, self._plan.scratch)
        context.set_device_memory(scratch.address, scratch.size)
        return context

    def _bind(self, context: Any, shape: Shape) -> dict[str, Shape]:
        """Set shapes and addresses; gives the shapes of all tensors."""
        shapes = self._shaped(context, shape)
        for spec in (self._input, *self._outputs):
            size = _bytes(shapes[spec.name], spec)
            self._pinned.reserve(spec.name, size)
            address = self._device.reserve(spec.name, size).address
            _accept(context.set_tensor_address(spec.name, address), spec.name)
        return shapes

    def _shaped(self, context: Any, shape: Shape) -> dict[str, Shape]:
        manifest = self._plan.manifest
        try:
            profile = manifest.profile_for(shape)
        except ValueError as error:
            raise InferenceError(str(error)) from error
        if profile != context.active_optimization_profile:
            _accept(
                context.set_optimization_profile_async(profile, self._stream.handle), "the profile"
            )
            self._stream.synchronize()
        _accept(context.set_input_shape(self._input.name, shape), self._input.name)
        missing = context.infer_shapes()
        shapes = {spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in self._outputs}
        if missing or any(length < 0 for found in shapes.values() for length in found):
            raise InferenceError(
                f"{manifest.network}: shapes are left open for {shape}: {missing or shapes}"
            )
        return {self._input.name: shape, **shapes}

    def _checked_graph(self, bound: _Bound) -> Graph:
        """The graph of a run, after it gave the results of the last plain run."""
        context = bound.context
        can_tell = hasattr(context, "is_stream_capturable")  # TensorRT-RTX, TensorRT from 10.14
        if can_tell and not context.is_stream_capturable(self._stream.handle):
            raise InferenceError("TensorRT says that its work cannot be captured")
        views = [self._host(spec, bound.shapes[spec.name]) for spec in self._outputs]
        expected = [view.copy() for view in views]
        graph = self._stream.capture(lambda: self._put_run(context, bound.shapes))
        for view in views:  # else what the plain run left there would be compared with itself
            view.fill(np.nan)
        try:
            graph.launch(self._stream)
            self._stream.synchronize()
            pairs = zip(views, expected, strict=True)
            if not all(np.allclose(a, b, _TOLERANCE, _TOLERANCE) for a, b in pairs):
                raise InferenceError("a captured graph gives other results than a plain run")
        except InferenceError:
            graph.close()
            raise
        return graph

    def _fill_with_noise(self, shape: Shape) -> None:
        """With zeros, a graph that computes nothing could pass the check."""
        noise = np.random.default_rng(0)
        into = self._host(self._input, shape)
        pictures = into.dtype == np.uint8
        into[...] = noise.integers(0, 256, shape) if pictures else noise.standard_normal(shape)

    def _put_run(self, context: Any, shapes: Mapping[str, Shape]) -> None:
        """Both copies and the network, in order on the stream."""
        self._copy(self._input, shapes, up=True)
        _accept(context.execute_async_v3(self._stream.handle), "the run")
        for spec in self._outputs:
            self._copy(spec, shapes, up=False)

    def _copy(self, spec: TensorSpec, shapes: Mapping[str, Shape], *, up: bool) -> None:
        size = _bytes(shapes[spec.name], spec)
        device = self._device.reserve(spec.name, size).address
        host = self._pinned.reserve(spec.name, size).address
        if up:
            self._stream.upload(device, host, size)
        else:
            self._stream.download(host, device, size)

    def _host(self, spec: TensorSpec, shape: Shape) -> Array:
        return self._pinned.reserve(spec.name, _bytes(shape, spec)).array(shape, spec.dtype)

    def _generation(self) -> tuple[int, int]:
        return self._device.generation, self._pinned.generation

    def _drop(self, shape: Shape) -> None:
        bound = self._captured.pop(shape)
        if bound.graph is not None:
            bound.graph.close()


def _bytes(shape: Shape, spec: TensorSpec) -> int:
    return spec.dtype.itemsize * math.prod(shape)


def _accept(done: bool, what: str) -> None:
    if not done:
        raise InferenceError(f"TensorRT refuses {what}; its messages are in the log")
