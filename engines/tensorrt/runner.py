"""Runs a plan for one caller at a time: a stream, memory, execution contexts and CUDA graphs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array, TensorSpec
from ..closing import Closing
from ..cuda.memory import Buffer
from ..cuda.streams import Graph, Stream
from ..errors import InferenceError
from .loading import LoadedPlan

log = logging.getLogger(__name__)

Shape = tuple[int, ...]

# A graph runs the same kernels as a plain run; anything beyond rounding is a broken capture.
_TOLERANCE = 1e-3


@dataclass(slots=True)
class GraphCounts:
    """CUDA graphs of an engine: captured, and captures that failed."""

    captured: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Bound:
    """A context set up for one shape, the shapes of all tensors, and the graph of a run.

    A graph holds the state its context had (shapes, addresses, scratch memory, profile), so a
    context that was captured serves its one shape for good.
    """

    context: Any
    shapes: dict[str, Shape]
    graph: Graph | None = None


class PlanRunner(Closing):
    """Runs a plan for one caller at a time.

    A run copies rows to pinned memory and from there to the device, runs the network, and copies
    each output back to pinned memory, in order on one stream. For captured shapes this is one
    CUDA graph.

    Args:
        plan: on the GPU.
        inputs: of the plan; exactly one.
        outputs: of the plan.
        captured: the shapes to capture, the largest first: no buffer grows after a capture.
        counts: of the engine's CUDA graphs, added to.

    Raises:
        InferenceError: the plan does not take a shape, or memory is short; nothing is held then.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        captured: Sequence[Shape],
        counts: GraphCounts,
    ) -> None:
        self._plan = plan
        self._input = inputs[0]
        self._outputs = outputs
        self._counts = counts
        self._scratch = Buffer("device")
        self._device = {spec.name: Buffer("device") for spec in (*inputs, *outputs)}
        self._pinned = {spec.name: Buffer("pinned") for spec in (*inputs, *outputs)}
        self._captured: dict[Shape, _Bound] = {}
        self._dynamic: Any = None  # the context for all other shapes
        self._stream = Stream()
        try:
            for shape in captured:
                self._capture(shape)
        except BaseException:
            self.abandon()
            raise

    def run(self, rows: Array, shape: Shape) -> dict[str, NDArray[np.float32]]:
        """Run the network once and wait for it.

        Args:
            rows: N×…, at most as many as ``shape`` has; the padding may hold anything, as rows do
                not depend on each other.
            shape: of the input as the plan sees it.

        Returns:
            Copies of the first N rows of each output.

        Raises:
            InferenceError: the plan does not take the shape, or the run failed.
        """
        bound = self._captured.get(shape)
        if bound is None:
            self._dynamic = self._dynamic or self._new_context()
            bound = self._bind(self._dynamic, shape)
        np.copyto(self._host(self._input, shape)[: len(rows)], rows)
        if bound.graph is None:
            self._enqueue(bound)
        else:
            bound.graph.launch(self._stream)
        self._stream.synchronize()
        views = {spec.name: self._host(spec, bound.shapes[spec.name]) for spec in self._outputs}
        padded = len(rows) < shape[0]
        return {
            name: (view[: len(rows)] if padded else view).copy() for name, view in views.items()
        }

    def close(self) -> None:
        """Free all memory after the current run has ended."""
        if self._stream.raw is None:
            return
        self._stream.synchronize()
        for bound in self._captured.values():
            if bound.graph is not None:
                bound.graph.close()
        self._captured.clear()
        self._dynamic = None
        for part in (self._scratch, *self._device.values(), *self._pinned.values(), self._stream):
            part.close()

    def abandon(self) -> None:
        """Close after an error, which says more than an error of the closing."""
        try:
            self.close()
        except InferenceError as error:
            log.debug("a runner does not close: %s", error)

    def _new_context(self) -> Any:
        """A context; a runner's contexts run one after another and share their scratch memory."""
        context = self._plan.context()
        self._scratch.reserve(self._plan.scratch)
        context.set_device_memory(self._scratch.address, self._scratch.size)
        return context

    def _bind(self, context: Any, shape: Shape) -> _Bound:
        """Set the shapes and addresses of all tensors."""
        manifest = self._plan.manifest
        profile = manifest.profile_for(shape)
        if profile != context.active_optimization_profile:
            stream = self._stream.handle
            _accept(context.set_optimization_profile_async(profile, stream), "the profile")
            self._stream.synchronize()
        _accept(context.set_input_shape(self._input.name, shape), self._input.name)
        missing = context.infer_shapes()
        shapes = {spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in self._outputs}
        if missing or any(length < 0 for found in shapes.values() for length in found):
            raise InferenceError(
                f"{manifest.network}: shapes are left open for {shape}: {missing or shapes}"
            )
        shapes[self._input.name] = shape
        for spec in (self._input, *self._outputs):
            size = _bytes(shapes[spec.name], spec)
            self._pinned[spec.name].reserve(size)
            self._device[spec.name].reserve(size)
            _accept(
                context.set_tensor_address(spec.name, self._device[spec.name].address), spec.name
            )
        return _Bound(context, shapes)

    def _capture(self, shape: Shape) -> None:
        """Bind a context to this shape and capture its graph; warns once where that fails."""
        bound = self._bind(self._new_context(), shape)
        # With zeros, a graph that computes nothing could pass the check.
        noise = np.random.default_rng(0)
        fed = self._host(self._input, shape)
        images = fed.dtype == np.uint8
        fed[...] = noise.integers(0, 256, shape) if images else noise.standard_normal(shape)
        # Lazy initialisation happens in the first run and cannot be captured.
        self._enqueue(bound)
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

    def _checked_graph(self, bound: _Bound) -> Graph:
        """The graph of a run, after it gave the results of the last plain run."""
        views = [self._host(spec, bound.shapes[spec.name]) for spec in self._outputs]
        expected = [view.copy() for view in views]
        graph = self._stream.capture(lambda: self._enqueue(bound))
        for view in views:  # else the plain run's results would be compared with themselves
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

    def _enqueue(self, bound: _Bound) -> None:
        """Both copies and the network, in order on the stream."""
        name = self._input.name
        device, host = self._device, self._pinned
        size = _bytes(bound.shapes[name], self._input)
        self._stream.upload(device[name].address, host[name].address, size)
        _accept(bound.context.execute_async_v3(self._stream.handle), "the run")
        for spec in self._outputs:
            size = _bytes(bound.shapes[spec.name], spec)
            self._stream.download(host[spec.name].address, device[spec.name].address, size)

    def _host(self, spec: TensorSpec, shape: Shape) -> Array:
        return self._pinned[spec.name].array(shape, spec.dtype)


def _bytes(shape: Shape, spec: TensorSpec) -> int:
    return spec.dtype.itemsize * math.prod(shape)


def _accept(done: bool, what: str) -> None:
    if not done:
        raise InferenceError(f"TensorRT refuses {what}; its messages are in the log")
