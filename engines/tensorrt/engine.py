"""Networks on an NVIDIA GPU through TensorRT or TensorRT-RTX."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base import Array, BaseEngine, TensorSpec
from ..checks import check_feeds, check_model_file
from ..errors import InferenceError
from ..options import EngineOptions
from .build import Progress
from .loading import load_plan
from .plans import PlanStore
from .recipe import recipe_for
from .runner import GraphCounts, PlanRunner
from .variant import check_requirements


def describe() -> str:
    """Variant, version and card; raises like ``check_requirements``."""
    variant, device = check_requirements()
    return f"{variant.name} {variant.version}, {device}"


def split_batch(count: int, sizes: Sequence[int]) -> list[tuple[slice, int]]:
    """Divide ``count`` rows into runs of the given batch sizes (ascending): rows and size of each.

    Runs of the largest size come first; the rest is padded to the next size. Without sizes, one run
    has all rows.
    """
    largest = sizes[-1] if sizes else count
    parts = []
    for start in range(0, count, largest):
        rows = min(largest, count - start)
        size = next((size for size in sizes if size >= rows), rows)
        parts.append((slice(start, start + rows), size))
    return parts


class TensorRtEngine(BaseEngine):
    """A network on the first CUDA device.

    Where only the batch is dynamic, each batch size of ``options.shapes`` has a context and a CUDA
    graph, and other batches are split and padded to these sizes. Otherwise there are no graphs.

    Args:
        path: the ``.onnx`` network.
        options: ``precision`` auto is float16.
        cache: folder of built plans; None builds one for this process alone.
        progress: called with the progress of a build.

    Attributes:
        graphs: CUDA graphs captured so far, and captures that failed.

    Raises:
        BackendUnavailable: TensorRT cannot run here or cannot build the plan; says why.
        ModelError: the file is missing, damaged, or does not fit the options.
        InferenceError: the plan cannot be run, e.g. for lack of memory.
    """

    def __init__(
        self,
        path: Path,
        *,
        options: EngineOptions | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        options = options or EngineOptions()
        variant, device = check_requirements()
        check_model_file(path)
        recipe = recipe_for(
            path, options, variant=variant, target=device.architecture, gpu=device.name
        )
        store = None if cache is None else PlanStore(cache)
        self._path = path
        self._target = recipe.target
        self.graphs = GraphCounts()
        plan = load_plan(path, recipe, variant, store=store, progress=progress)
        specs = [
            (facts.mode, TensorSpec(facts.name, facts.shape, np.dtype(facts.dtype)))
            for facts in plan.manifest.tensors
        ]
        self.backend, self.device, self.precision = "tensorrt", "cuda:0", recipe.precision
        self.inputs = tuple(spec for mode, spec in specs if mode == "input")
        self.outputs = tuple(spec for mode, spec in specs if mode == "output")
        low, high = plan.manifest.profiles[0].min, plan.manifest.profiles[-1].max
        only_batch = low[1:] == high[1:] and all(
            spec.shape[0] is None for _, spec in specs if spec.shape
        )
        sizes = {size for size in recipe.shapes.batches if low[0] <= size <= high[0]}
        self._sizes = sorted(sizes) if only_batch else []
        self._row = high[1:]
        self._plan: Any = plan
        self._idle: list[PlanRunner] = []
        self._lock = threading.Lock()
        with self._runner():  # captures the graphs
            plan.keep_kernels()

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self.inputs, feeds)
        rows = feeds[self.inputs[0].name]
        with self._runner() as runner:
            found = [
                runner.run(rows[part], (size, *rows.shape[1:]))
                for part, size in split_batch(len(rows), self._sizes)
            ]
        if len(found) == 1:
            return found[0]
        return {
            spec.name: np.concatenate([part[spec.name] for part in found]) for spec in self.outputs
        }

    def close(self) -> None:
        """Free the memory; calls in progress still end, and free theirs then."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._plan = None
        for runner in idle:
            runner.close()

    def __repr__(self) -> str:
        return f"TensorRtEngine({self._path.name}, {self._target}, {self.precision})"

    @contextmanager
    def _runner(self) -> Iterator[PlanRunner]:
        """A runner for this caller alone; after an error it is dropped."""
        with self._lock:
            plan = self._plan
            if plan is None:
                raise InferenceError(f"the engine of {self._path.name} is closed")
            runner = self._idle.pop() if self._idle else None
        try:
            if runner is None:
                shapes = [(size, *self._row) for size in reversed(self._sizes)]
                runner = PlanRunner(plan, self.inputs, self.outputs, shapes, self.graphs)
            yield runner
        except BaseException as error:
            if runner is not None:
                runner.abandon()
            if isinstance(error, RuntimeError):
                raise InferenceError(f"{self._path.name} failed: {error}") from error
            raise
        with self._lock:
            closed = self._plan is None
            if not closed:
                self._idle.append(runner)
        if closed:
            runner.close()
