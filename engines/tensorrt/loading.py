"""Loads a stored plan onto the GPU."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailable, InferenceError
from ..files import write_atomically
from ..private_files import read_known
from .build import Manifest, Progress, build_plan
from .plans import PlanStore
from .recipe import Recipe
from .variant import Variant, trt_logger

log = logging.getLogger(__name__)

KERNELS = ".kernels"
"""Suffix of the file of kernels that TensorRT-RTX has compiled for this card."""


@dataclass(slots=True)
class LoadedPlan:
    """A plan on the GPU: its weights, from which contexts are made.

    Attributes:
        variant: what runs it.
        manifest: of the plan.
        engine: an ``ICudaEngine``; holds the weights.
        runtime: what made it, and must outlive it.
        kernels: TensorRT-RTX's cache of compiled kernels, shared by all contexts.
        path: of the plan in the store; None where none is kept.
    """

    variant: Variant
    manifest: Manifest
    engine: Any
    runtime: Any
    kernels: Any = None
    path: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def scratch(self) -> int:
        """Bytes of device memory a context computes in."""
        return int(self.engine.device_memory_size_v2)

    def context(self) -> Any:
        """A new ``IExecutionContext``; its memory is set by ``set_device_memory``.

        Raises:
            InferenceError: there is no memory for it.
        """
        strategy = self.variant.module.ExecutionContextAllocationStrategy.USER_MANAGED
        with self._lock:
            how = strategy if self.variant.name == "tensorrt" else self._config(strategy)
            context = self.engine.create_execution_context(how)
        if context is None:
            raise InferenceError(
                f"{self.variant.name} makes no execution context for {self.manifest.network}; "
                "its messages are in the log"
            )
        return context

    def keep_kernels(self) -> None:
        """Write the compiled kernels beside the plan, for the next start."""
        if self.kernels is None or self.path is None:
            return
        data = bytes(self.kernels.serialize())
        file = self.path.with_suffix(KERNELS)
        try:
            if not file.is_file() or file.stat().st_size != len(data):
                write_atomically(file, data)
        except OSError as error:
            log.debug("compiled kernels are not kept: %s", error)

    def _config(self, strategy: Any) -> Any:
        """The runtime settings of TensorRT-RTX, which compiles kernels while it runs."""
        module = self.variant.module
        config = self.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        # Kernels are compiled at the first run of a shape, not in the background later: the
        # parity gate judges the kernels that serve.
        kinds = module.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
        config.cuda_graph_strategy = module.CudaGraphStrategy.DISABLED  # a runner captures its own
        if self.kernels is None:
            self.kernels = config.create_runtime_cache()
            file = None if self.path is None else self.path.with_suffix(KERNELS)
            known = b"" if file is None else read_known(file)
            if known and not self.kernels.deserialize(known):
                log.debug("%s does not fit here any more", file)
        config.set_runtime_cache(self.kernels)
        return config


def load_plan(
    path: Path,
    recipe: Recipe,
    variant: Variant,
    *,
    store: PlanStore | None,
    progress: Progress | None = None,
) -> LoadedPlan:
    """The plan of a network on the GPU, built if it is missing.

    A plan that does not load here is removed from the store and built once more. Without a store
    one is built for this process alone.

    Raises:
        BackendUnavailable: it cannot be built here, or the new plan does not load.
        ModelError: the network is missing, damaged, or does not fit the recipe.
    """
    if store is None:
        plan = build_plan(path, recipe, progress=progress)
        return _loaded(variant, plan.manifest, plan.data, None)
    stored = store.plan_for(path, recipe, progress=progress)
    try:
        return _loaded(variant, stored.manifest, stored.read(), stored.path)
    except BackendUnavailable as error:
        log.warning("the plan %s is refused (%s); it is built again", stored.path, error)
    store.discard(stored.manifest.key)
    stored = store.plan_for(path, recipe, progress=progress)
    return _loaded(variant, stored.manifest, stored.read(), stored.path)


def _loaded(variant: Variant, manifest: Manifest, data: bytes, path: Path | None) -> LoadedPlan:
    try:
        runtime = variant.module.Runtime(trt_logger(variant))
        engine = runtime.deserialize_cuda_engine(data)
    except (RuntimeError, TypeError) as error:  # TypeError: the factory returned nothing
        text = f"{variant.name} {variant.version} does not start: {error}"
        raise BackendUnavailable(text) from error
    if engine is None:
        raise BackendUnavailable(
            f"{variant.name} {variant.version} does not load the plan of {manifest.network} for "
            f"{manifest.parts.get('target')}; its messages are in the log"
        )
    if engine.num_optimization_profiles != len(manifest.profiles):
        raise BackendUnavailable(
            f"the plan of {manifest.network} has other profiles than its manifest"
        )
    return LoadedPlan(variant, manifest, engine, runtime, path=path)
