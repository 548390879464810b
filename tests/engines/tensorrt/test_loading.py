"""Plans that the variant does not load: built once more, then a clear error."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facestream.engines.devices import driver_report
from facestream.engines.errors import BackendUnavailable
from facestream.engines.tensorrt.loading import KERNELS, LoadedPlan, load_plan
from facestream.engines.tensorrt.plans import PlanStore
from facestream.engines.tensorrt.recipe import Recipe
from facestream.engines.tensorrt.variant import Variant


class Picky:
    """The real variant's module, but for a runtime that loads only what it is told to."""

    def __init__(self, module: Any, *, loads: list[bool], profiles: int) -> None:
        self._module = module
        self.loads = loads
        self.seen: list[bytes] = []
        self._profiles = profiles

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def Runtime(self, logger: Any) -> Any:  # TensorRT's own name
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self.seen.append(plan)
        if not self.loads.pop(0):
            return None
        return SimpleNamespace(num_optimization_profiles=self._profiles, device_memory_size_v2=512)


def picky(variant: Variant, recipe: Recipe, *loads: bool) -> tuple[Variant, Picky]:
    module = Picky(variant.module, loads=list(loads), profiles=len(recipe.profiles))
    return dataclasses.replace(variant, module=module), module


@pytest.mark.tensorrt
def test_a_plan_that_loads_is_taken(
    rtx: Variant, rnet: Path, real_recipe: Recipe, tmp_path: Path
) -> None:
    variant, module = picky(rtx, real_recipe, True, True)
    store = PlanStore(tmp_path)
    plan = load_plan(rnet, real_recipe, variant, store=store)
    again = load_plan(rnet, real_recipe, variant, store=store)
    assert plan.scratch == 512
    assert plan.path == again.path
    assert module.seen[0] == module.seen[1]  # not built anew
    assert [facts.name for facts in plan.manifest.tensors] == ["crops", "heads"]


@pytest.mark.tensorrt
def test_a_plan_that_is_refused_is_built_once_more(
    rtx: Variant, rnet: Path, real_recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    variant, module = picky(rtx, real_recipe, False, True)
    with caplog.at_level(logging.WARNING):
        plan = load_plan(rnet, real_recipe, variant, store=PlanStore(tmp_path))
    assert plan.path is not None
    assert plan.path.is_file()
    assert len(module.seen) == 2
    assert "is refused" in caplog.text
    assert "it is built again" in caplog.text


@pytest.mark.tensorrt
def test_a_plan_with_other_profiles_is_refused(
    rtx: Variant, rnet: Path, real_recipe: Recipe, tmp_path: Path
) -> None:
    module = Picky(rtx.module, loads=[True, True], profiles=7)
    variant = dataclasses.replace(rtx, module=module)
    with pytest.raises(BackendUnavailable, match="other profiles than its manifest"):
        load_plan(rnet, real_recipe, variant, store=PlanStore(tmp_path))


@pytest.mark.tensorrt
@pytest.mark.parametrize("kept", [True, False])
def test_without_a_gpu_the_real_runtime_refuses_with_a_clear_error(
    rtx: Variant, rnet: Path, real_recipe: Recipe, tmp_path: Path, kept: bool
) -> None:
    if driver_report().devices:
        pytest.skip("there is a GPU")
    store = PlanStore(tmp_path) if kept else None
    with pytest.raises(BackendUnavailable, match=r"tensorrt_rtx 1\.\S+ does not (load|start)"):
        load_plan(rnet, real_recipe, rtx, store=store)


class Kernels:
    """Stands in for ``IRuntimeCache``."""

    def __init__(self, *, fits: bool) -> None:
        self.fits = fits
        self.data = b""

    def deserialize(self, data: bytes) -> bool:
        if self.fits:
            self.data = data
        return self.fits

    def serialize(self) -> bytes:
        return self.data + b"+"


@pytest.mark.tensorrt
@pytest.mark.parametrize("fits", [True, False])
def test_compiled_kernels_are_kept_beside_the_plan(
    rtx: Variant, rnet: Path, real_recipe: Recipe, tmp_path: Path, fits: bool
) -> None:
    variant, _ = picky(rtx, real_recipe, True)
    plan = load_plan(rnet, real_recipe, variant, store=PlanStore(tmp_path))
    assert plan.path is not None
    file = plan.path.with_suffix(KERNELS)
    plan.keep_kernels()
    assert not file.exists()  # nothing was compiled

    file.write_bytes(b"old")
    contexts = []

    def create_context(config: Any) -> object:
        contexts.append(config)
        return object()

    plan = LoadedPlan(
        rtx,
        plan.manifest,
        SimpleNamespace(
            create_runtime_config=lambda: Config(Kernels(fits=fits)),
            create_execution_context=create_context,
        ),
        None,
        path=plan.path,
    )
    plan.context()
    plan.context()
    plan.keep_kernels()
    assert file.read_bytes() == (b"old+" if fits else b"+")
    module = rtx.module
    assert {config.cuda_graph_strategy for config in contexts} == {
        module.CudaGraphStrategy.DISABLED
    }
    assert {config.dynamic_shapes_kernel_specialization_strategy for config in contexts} == {
        module.DynamicShapesKernelSpecializationStrategy.EAGER
    }
    assert contexts[0].kernels is contexts[1].kernels


class Config:
    """Stands in for ``IRuntimeConfig``, with the names of the real one."""

    def __init__(self, kernels: Kernels) -> None:
        self._new = kernels
        self.kernels: Kernels | None = None
        self.cuda_graph_strategy: Any = None
        self.dynamic_shapes_kernel_specialization_strategy: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        assert strategy.name == "USER_MANAGED"

    def create_runtime_cache(self) -> Kernels:
        return self._new

    def set_runtime_cache(self, cache: Kernels) -> bool:
        self.kernels = cache
        return True


@pytest.mark.tensorrt
def test_the_stand_ins_have_the_names_of_the_real_ones(rtx: Variant) -> None:
    """So that a change of TensorRT's interface shows without a GPU."""
    module = rtx.module
    for stand_in, real in (
        (Config(Kernels(fits=True)), module.IRuntimeConfig),
        (Kernels(fits=True), module.IRuntimeCache),
    ):
        own = {"kernels", "fits", "data"}
        names = {name for name in dir(stand_in) if not name.startswith("_")} - own
        assert names <= set(dir(real))
    from .fakes import FakeContext, FakeTensorRt

    context = {name for name in dir(FakeContext) if not name.startswith("_")}
    assert context <= set(dir(module.IExecutionContext))
    assert "active_optimization_profile" in dir(module.IExecutionContext)
    engine = {name for name in dir(FakeTensorRt) if not name.startswith("_")}
    assert engine - {"ExecutionContextAllocationStrategy"} <= set(dir(module.ICudaEngine))
    assert hasattr(module.ExecutionContextAllocationStrategy, "USER_MANAGED")
