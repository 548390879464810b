"""Networks on an NVIDIA GPU through TensorRT or TensorRT-RTX."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array, TensorSpec
from ..checks import check_feeds, check_model_file
from ..closing import Closing
from ..cuda.streams import is_capturing
from ..errors import InferenceError
from ..often import Often
from ..options import EngineOptions
from .batches import Batches
from .build import Progress
from .lanes import GraphCounts, Lane, Shape
from .loading import load_plan
from .needs import check_needs
from .plans import PlanStore
from .recipe import recipe_for

log = logging.getLogger(__name__)


def describe() -> str:
    """Flavour, its version and the card.

    Raises:
        BackendUnavailable: it cannot run here; names all that is missing.
    """
    flavour, device = check_needs()
    return f"{flavour.name} {flavour.version}, {device}"


class TensorRtEngine(Closing):
    """A network on the first CUDA device.

    See ``Engine`` for the promises. The batch sizes of ``options.shapes`` each have a context and
    a CUDA graph. A batch of another size is filled up to the next of them or divided, whichever
    costs less (see ``split_batch``), and so is one larger than the largest; its parts go through
    two lanes in turn, so that one is copied while the other is computed. Other shapes within the
    range run without a graph, until, with ``static_shapes``, they came often.

    Args:
        path: the ``.onnx`` network.
        options: ``precision`` auto is float16.
        cache: folder of built plans; None builds one for this process alone.
        progress: told how far a build is.

    Raises:
        BackendUnavailable: TensorRT cannot run here or cannot build the plan; says why.
        ModelError: the file is missing, damaged, or does not fit the options.
        InferenceError: the plan cannot be run, e.g. for want of memory.
    """

    reason: str = ""
    """Why nothing better serves in its place; told by whoever chose it."""

    def __init__(
        self,
        path: Path,
        *,
        options: EngineOptions | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        options = options or EngineOptions()
        flavour, device = check_needs()
        check_model_file(path)
        recipe = recipe_for(
            path, options, flavour=flavour, target=device.architecture, gpu=device.name
        )
        store = None if cache is None else PlanStore(cache)
        self._path = path
        self._options = options
        self._recipe = recipe
        self._counts = GraphCounts()
        plan = load_plan(path, recipe, flavour, store=store, progress=progress)
        specs = [
            (facts.mode, TensorSpec(facts.name, facts.shape, np.dtype(facts.dtype)))
            for facts in plan.manifest.tensors
        ]
        self._inputs = tuple(spec for mode, spec in specs if mode == "input")
        self._outputs = tuple(spec for mode, spec in specs if mode == "output")
        self._plan: Any = plan
        self._batches = Batches(recipe, (*self._inputs, *self._outputs))
        self._idle: list[Lane] = []
        self._often = Often(8 * options.max_shapes)
        self._lock = threading.Lock()
        self._closed = False
        self._warm_up()

    @property
    def backend(self) -> str:
        """``tensorrt``, for both flavours."""
        return "tensorrt"

    @property
    def device(self) -> str:
        """``cuda:0``."""
        return "cuda:0"

    @property
    def precision(self) -> str:
        """``float32``, ``float16`` or ``bfloat16``."""
        return self._recipe.precision

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        return self._outputs

    @property
    def graphs(self) -> GraphCounts:
        """CUDA graphs captured so far, and captures that failed."""
        return GraphCounts(self._counts.captured, self._counts.failed)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self._inputs, feeds)
        rows = feeds[self._inputs[0].name]
        rest = rows.shape[1:]
        parts = self._batches.parts(rows.shape)
        found: list[dict[str, NDArray[np.float32]]] = []
        with self._lanes(min(len(parts), 2)) as lanes:
            for turn, part in enumerate(parts):
                lane = lanes[turn % len(lanes)]
                if turn >= len(lanes):
                    found.append(lane.finish(parts[turn - len(lanes)].rows))
                shape = (part.size, *rest)
                self._freeze(lane, shape)
                lane.start(rows[part.start : part.stop], shape)
            for turn in range(len(found), len(parts)):
                found.append(lanes[turn % len(lanes)].finish(parts[turn].rows))
        if len(found) == 1:
            return found[0]
        return {
            spec.name: np.concatenate([part[spec.name] for part in found]) for spec in self._outputs
        }

    def infer_device(
        self, addresses: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]], stream: int
    ) -> None:
        """Run on memory of the device, for callers whose data is there already.

        The work is put on ``stream`` and not waited for. A batch is run as it is: one the plan
        was not tuned for is slower, one beyond its range is refused.

        Args:
            addresses: of every input and output, contiguous, e.g. ``tensor.data_ptr()``; they
                must live until the work is done. See ``output_shapes`` for their sizes.
            shapes: of the input.
            stream: e.g. ``torch.cuda.current_stream().cuda_stream``; not the default stream, and
                not one that is being captured: a graph would keep addresses of this engine.

        Raises:
            InferenceError: a tensor is missing, the shape is out of range, or the run failed.
        """
        names = [spec.name for spec in (*self._inputs, *self._outputs)]
        missing = [name for name in names if not addresses.get(name)]
        if missing:
            raise InferenceError(f"tensor '{missing[0]}' has no address")
        if is_capturing(stream):
            raise InferenceError(f"{self._path.name} cannot be captured into a CUDA graph")
        with self._lanes(1) as (lane,):
            lane.run_elsewhere(addresses, self._shape_in(shapes), stream)

    def output_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for an input of this shape.

        Raises:
            InferenceError: the shape is missing or out of range.
        """
        with self._lanes(1) as (lane,):
            found = lane.shapes_of(self._shape_in(shapes))
        return {spec.name: found[spec.name] for spec in self._outputs}

    def close(self) -> None:
        """Give the memory back; calls under way still end, and give theirs back then."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._plan = None
        for lane in idle:
            lane.close()

    def __repr__(self) -> str:
        return f"TensorRtEngine({self._path.name}, {self._recipe.target}, {self.precision})"

    def _warm_up(self) -> None:
        """One lane with all that is known beforehand; compiled kernels are kept for next time."""
        plan = self._plan
        try:
            with self._lanes(1) as (lane,):
                for shape in self._batches.shapes():
                    lane.freeze(shape, keep=self._kept())
            plan.keep_kernels()
        except BaseException:
            self.close()
            raise

    def _freeze(self, lane: Lane, shape: Shape) -> None:
        """Give the shape a graph on this lane where it should have one and has none yet."""
        if lane.is_frozen(shape):
            return
        frequent = self._options.static_shapes and self._often.seen(shape)
        if self._batches.knows(shape) or frequent:
            lane.freeze(shape, keep=self._kept())
            self._often.forget(shape)  # one that goes has to come often again

    def _kept(self) -> int:
        return max(self._options.max_shapes, len(self._batches.sizes))

    def _shape_in(self, shapes: Mapping[str, tuple[int, ...]]) -> Shape:
        name = self._inputs[0].name
        if name not in shapes:
            raise InferenceError(f"input '{name}' has no shape; got {', '.join(shapes)}")
        return tuple(shapes[name])

    @contextmanager
    def _lanes(self, count: int) -> Iterator[list[Lane]]:
        """Lanes nobody else uses for the time of the block; after an error they are dropped."""
        lanes: list[Lane] = []
        try:
            while len(lanes) < count:
                lanes.append(self._lane())
            yield lanes
        except BaseException as error:
            for lane in lanes:
                _drop(lane)
            if isinstance(error, RuntimeError):
                raise InferenceError(f"{self._path.name} failed: {error}") from error
            raise
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle += lanes
        for lane in lanes if closed else ():
            lane.close()

    def _lane(self) -> Lane:
        with self._lock:
            plan = self._plan
            if plan is None:
                raise InferenceError(f"the engine of {self._path.name} is closed")
            if self._idle:
                return self._idle.pop()
        lane = Lane(plan, self._inputs, self._outputs, self._counts)
        try:
            lane.make_room(next(iter(self._batches.shapes()), self._batches.usual))
        except BaseException:
            _drop(lane)
            raise
        return lane


def _drop(lane: Lane) -> None:
    """Close a lane something went wrong on; what that says is less than what went wrong."""
    try:
        lane.close()
    except InferenceError as error:
        log.debug("a lane does not close: %s", error)
