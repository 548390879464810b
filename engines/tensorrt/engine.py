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

from ..base import Array, BaseEngine, TensorSpec
from ..checks import check_feeds, check_model_file
from ..errors import InferenceError
from ..options import EngineOptions
from .batches import Batches
from .build import Progress
from .contexts import GraphCounts, PlanRunner
from .loading import load_plan
from .plans import PlanStore
from .recipe import recipe_for
from .variant import check_requirements

log = logging.getLogger(__name__)


def describe() -> str:
    """Variant, version and card.

    Raises:
        BackendUnavailable: it cannot run here; names everything missing.
    """
    variant, device = check_requirements()
    return f"{variant.name} {variant.version}, {device}"


class TensorRtEngine(BaseEngine):
    """A network on the first CUDA device.

    See ``Engine`` for the promises. The batch sizes of ``options.shapes`` each have a context and
    a CUDA graph. Another batch is padded to the next size or split, whichever costs less (see
    ``split_batch``); its parts alternate between two runners, so that one copies while the other
    computes. Other shapes within the range run without a graph.

    Args:
        path: the ``.onnx`` network.
        options: ``precision`` auto is float16.
        cache: folder of built plans; None builds one for this process alone.
        progress: called with the progress of a build.

    Raises:
        BackendUnavailable: TensorRT cannot run here or cannot build the plan; says why.
        ModelError: the file is missing, damaged, or does not fit the options.
        InferenceError: the plan cannot be run, e.g. for want of memory.
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
        self._recipe = recipe
        self._counts = GraphCounts()
        plan = load_plan(path, recipe, variant, store=store, progress=progress)
        specs = [
            (facts.mode, TensorSpec(facts.name, facts.shape, np.dtype(facts.dtype)))
            for facts in plan.manifest.tensors
        ]
        self.backend, self.device, self.precision = "tensorrt", "cuda:0", recipe.precision
        self.inputs = tuple(spec for mode, spec in specs if mode == "input")
        self.outputs = tuple(spec for mode, spec in specs if mode == "output")
        self._plan: Any = plan
        self._batches = Batches(recipe, (*self.inputs, *self.outputs))
        self._idle: list[PlanRunner] = []
        self._lock = threading.Lock()
        self._closed = False
        self._warm_up()

    @property
    def graphs(self) -> GraphCounts:
        """CUDA graphs captured so far, and captures that failed."""
        return GraphCounts(self._counts.captured, self._counts.failed)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        check_feeds(self.inputs, feeds)
        rows = feeds[self.inputs[0].name]
        rest = rows.shape[1:]
        parts = self._batches.parts(rows.shape)
        found: list[dict[str, NDArray[np.float32]]] = []
        with self._runners(min(len(parts), 2)) as runners:
            for turn, part in enumerate(parts):
                runner = runners[turn % len(runners)]
                if turn >= len(runners):
                    found.append(runner.finish(parts[turn - len(runners)].rows))
                shape = (part.size, *rest)
                if shape in self._batches and not runner.has_captured(shape):
                    runner.capture(shape)
                runner.start(rows[part.start : part.stop], shape)
            for turn in range(len(found), len(parts)):
                found.append(runners[turn % len(runners)].finish(parts[turn].rows))
        if len(found) == 1:
            return found[0]
        return {
            spec.name: np.concatenate([part[spec.name] for part in found]) for spec in self.outputs
        }

    def close(self) -> None:
        """Free the memory; calls under way still end, and free theirs then."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            self._plan = None
        for runner in idle:
            runner.close()

    def __repr__(self) -> str:
        return f"TensorRtEngine({self._path.name}, {self._recipe.target}, {self.precision})"

    def _warm_up(self) -> None:
        """Capture all batch sizes on one runner, and store the kernels compiled for them."""
        plan = self._plan
        try:
            with self._runners(1) as (runner,):
                for shape in self._batches.shapes():
                    runner.capture(shape)
            plan.keep_kernels()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _runners(self, count: int) -> Iterator[list[PlanRunner]]:
        """Runners nobody else uses during the block; after an error they are dropped."""
        runners: list[PlanRunner] = []
        try:
            while len(runners) < count:
                runners.append(self._runner())
            yield runners
        except BaseException as error:
            for runner in runners:
                _drop(runner)
            if isinstance(error, RuntimeError):
                raise InferenceError(f"{self._path.name} failed: {error}") from error
            raise
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle += runners
        for runner in runners if closed else ():
            runner.close()

    def _runner(self) -> PlanRunner:
        with self._lock:
            plan = self._plan
            if plan is None:
                raise InferenceError(f"the engine of {self._path.name} is closed")
            if self._idle:
                return self._idle.pop()
        runner = PlanRunner(plan, self.inputs, self.outputs, self._counts)
        try:
            runner.make_room(next(iter(self._batches.shapes()), self._batches.opt))
        except BaseException:
            _drop(runner)
            raise
        return runner


def _drop(runner: PlanRunner) -> None:
    """Close a runner after an error, which says more than one of its closing."""
    try:
        runner.close()
    except InferenceError as error:
        log.debug("a runner does not close: %s", error)
