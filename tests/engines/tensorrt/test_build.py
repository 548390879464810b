"""Real plans by the real TensorRT-RTX; none is executed here, which needs a GPU.

A plan cannot be read back without a driver either. What is checked instead: its header, and its
manifest against the network that was parsed anew and the profiles that were asked for.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from facestream.engines.cards import load_card, model_path
from facestream.engines.casting import prepare
from facestream.engines.devices import cuda_devices
from facestream.engines.errors import BackendUnavailable, BuildFailed, InferenceError, ModelError
from facestream.engines.options import ShapeRange
from facestream.engines.tensorrt import variant as variants
from facestream.engines.tensorrt.build import BuiltPlan, TensorFacts, build_plan, sha256_of_bytes
from facestream.engines.tensorrt.inventory import PlanRequest
from facestream.engines.tensorrt.recipe import Recipe, recipe_for
from facestream.engines.tensorrt.variant import Variant, find_variant, trt_logger
from facestream.pipeline.recognition.verify import planned

ROOT = Path(__file__).resolve().parents[3]
NETWORKS = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "vae_encoder", "vae_decoder")


def network(name: str) -> PlanRequest:
    return next(one for one in planned() if one.name == name)


def parsed(rtx: Variant, model: bytes) -> list[tuple[str, tuple[int, ...], str]]:
    """Names, shapes and types of a network's tensors, as TensorRT-RTX's parser sees them."""
    module = rtx.module
    builder = module.Builder(trt_logger(rtx))
    definition = builder.create_network(0)
    parser = module.OnnxParser(definition, trt_logger(rtx))
    assert parser.parse(model)
    inputs = [definition.get_input(index) for index in range(definition.num_inputs)]
    outputs = [definition.get_output(index) for index in range(definition.num_outputs)]
    return [(one.name, tuple(one.shape), str(one.dtype)) for one in [*inputs, *outputs]]


def facts(tensors: tuple[TensorFacts, ...]) -> list[tuple[str, tuple[int, ...], str]]:
    types = {"float32": "DataType.FLOAT", "uint8": "DataType.UINT8"}
    return [
        (one.name, tuple(-1 if n is None else n for n in one.shape), types[one.dtype])
        for one in tensors
    ]


def check_plan(rtx: Variant, plan: BuiltPlan, recipe: Recipe, name: str) -> None:
    manifest = plan.manifest
    assert manifest.sha256 == sha256_of_bytes(plan.data)
    assert manifest.size == len(plan.data)
    header = rtx.module.Runtime(trt_logger(rtx)).engine_header_size
    assert len(plan.data) > header
    assert plan.data[:4] == b"vtrt"
    version = [int(part) for part in rtx.version.split(".")[:3]]
    assert list(plan.data[24:27]) == version
    path = network(name).path
    assert facts(manifest.tensors) == parsed(
        rtx, prepare(path, recipe.precision, recipe.image_input)
    )
    card = load_card(name)
    assert [one.name for one in manifest.tensors if one.mode == "input"] == [
        one.name for one in card.inputs
    ]
    assert [one.name for one in manifest.tensors if one.mode == "output"] == [
        one.name for one in card.outputs
    ]
    assert all(one.dtype == "float32" for one in manifest.tensors if one.mode == "output")
    assert len(manifest.profiles) == len(recipe.profiles)


@pytest.mark.tensorrt
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", ["sm86", "sm120"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_all_networks_are_built(rtx: Variant, name: str, target: str, precision: Any) -> None:
    one = network(name)
    options = replace(one.options, precision=precision)
    recipe = recipe_for(one.path, options, variant=rtx, target=target)
    plan = build_plan(one.path, recipe)
    check_plan(rtx, plan, recipe, name)
    size = {"float32": 4, "float16": 2}[precision]
    weights = sum(
        int(np.prod(tensor.dims)) for tensor in onnx.load(str(one.path)).graph.initializer
    )
    assert len(plan.data) > 0.9 * size * weights  # the weights are in it, in their precision


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_turing_gets_no_float32_products(rtx: Variant, precision: Any) -> None:
    """TensorRT-RTX compiles none for SM75; the head of sigma and R-Net's heads have some."""
    for name in ("mtcnn_rnet", "vae_encoder"):
        one = network(name)
        options = replace(one.options, precision=precision)
        recipe = recipe_for(one.path, options, variant=rtx, target="sm75")
        check_plan(rtx, build_plan(one.path, recipe), recipe, name)


@pytest.mark.tensorrt
def test_bfloat16_is_built(rtx: Variant) -> None:
    one = network("vae_encoder")
    options = replace(one.options, precision="bfloat16")
    recipe = recipe_for(one.path, options, variant=rtx, target="sm86")
    plan = build_plan(one.path, recipe)
    check_plan(rtx, plan, recipe, "vae_encoder")
    # Pictures go in as they come, and each batch the encoder sends has its profile.
    fed = plan.manifest.tensors[0]
    assert (fed.shape, fed.dtype) == ((None, 112, 112, 3), "uint8")
    profiles = [plan.manifest.profile_for((size, 112, 112, 3)) for size in (1, 4, 5, 8, 32)]
    assert profiles == [0, 0, 1, 1, 1]
    for shape in ((33, 112, 112, 3), (1, 112, 113, 3), (1, 3, 112)):
        with pytest.raises(InferenceError, match="vae_encoder takes shapes from"):
            plan.manifest.profile_for(shape)


@pytest.mark.tensorrt
def test_targets_differ(rtx: Variant, rnet: Path, real_recipe: Recipe) -> None:
    assert {"sm75", "sm80", "sm86", "sm89", "sm120"} <= set(rtx.targets)
    assert "sm90" not in rtx.targets
    plans = [build_plan(rnet, replace(real_recipe, target=one)) for one in ("sm86", "sm120")]
    assert plans[0].data != plans[1].data
    assert plans[0].manifest.key != plans[1].manifest.key


@pytest.mark.tensorrt
def test_progress_is_told_and_can_stop_a_build(rnet: Path, real_recipe: Recipe) -> None:
    seen: list[tuple[str, float]] = []
    build_plan(rnet, real_recipe, progress=lambda phase, share: seen.append((phase, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with pytest.raises(BuildFailed, match=r"mtcnn_rnet\.onnx .* was stopped"):
        build_plan(rnet, real_recipe, progress=lambda phase, share: False)


@pytest.mark.tensorrt
def test_what_progress_raises_is_not_lost(rnet: Path, real_recipe: Recipe) -> None:
    def interrupted(phase: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(rnet, real_recipe, progress=interrupted)


INTERRUPTED = """
import conftest, signal, sys, threading
from pathlib import Path
from facestream.engines.tensorrt.build import build_plan
from facestream.engines.tensorrt.variant import find_variant
from facestream.engines.tensorrt.recipe import recipe_for
from facestream.pipeline.recognition.verify import planned

signal.signal(signal.SIGINT, signal.default_int_handler)
one = next(one for one in planned() if one.name == "vae_encoder")
recipe = recipe_for(one.path, one.options, variant=find_variant("tensorrt_rtx"), target="sm86")

pressed = threading.Event()

def press(phase, share):
    if not pressed.is_set():
        pressed.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

try:
    build_plan(one.path, recipe, progress=press)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.tensorrt
@pytest.mark.usefixtures("rtx")
def test_ctrl_c_ends_a_build() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.returncode) == ("interrupted\n", 0), ran.stderr
    assert "Exception" not in ran.stderr


@pytest.mark.tensorrt
def test_what_the_builder_refuses_says_why(
    real_recipe: Recipe, rnet: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(rnet.read_bytes()[:-1000])
    exact = replace(real_recipe, precision="float32")
    with caplog.at_level(logging.INFO), pytest.raises(ModelError, match=r"damaged\.onnx"):
        build_plan(damaged, exact)
    assert any("tensorrt" in record.name for record in caplog.records)
    with pytest.raises(ModelError, match="cannot read the network"):
        build_plan(damaged, real_recipe)
    wrong = ShapeRange((1, 3, 25, 25), (8, 3, 25, 25), (8, 3, 25, 25))
    with pytest.raises(ModelError, match=r"crops N×3×24×24; shapes .* do not fit"):
        build_plan(rnet, replace(real_recipe, shapes=wrong))
    with pytest.raises(BackendUnavailable, match="nothing for sm90"):
        build_plan(rnet, replace(real_recipe, target="sm90"))
    with pytest.raises(BackendUnavailable, match=r"asks for tensorrt_rtx 1\.0\.0"):
        build_plan(rnet, replace(real_recipe, version="1.0.0"))


@pytest.mark.tensorrt
def test_a_second_build_gives_the_same_tensors_and_profiles(
    rnet: Path, real_recipe: Recipe
) -> None:
    one, other = (build_plan(rnet, real_recipe).manifest for _ in range(2))
    assert one.key == other.key
    assert (one.tensors, one.profiles) == (other.tensors, other.profiles)


@pytest.fixture
def _fresh_variants() -> Iterator[None]:
    variants._load.cache_clear()
    yield
    variants._load.cache_clear()


@pytest.mark.usefixtures("_fresh_variants")
def test_without_tensorrt_the_reason_and_the_command_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable) as caught:
        find_variant()
    assert "pip install tensorrt cuda-bindings onnx" in str(caught.value)
    assert "pip install tensorrt-rtx-cu13 cuda-bindings onnx" in str(caught.value)
    with pytest.raises(ValueError, match="no variant 'rtx'"):
        find_variant("rtx")  # type: ignore[arg-type]


@pytest.mark.usefixtures("_fresh_variants")
def test_an_old_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("tensorrt")
    old.__version__ = "10.7.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(BackendUnavailable, match=r"tensorrt 10\.7\.0 is older than 10\.8"):
        find_variant("tensorrt")


def test_importing_the_package_imports_no_tensorrt(run_python: Any) -> None:
    ran = run_python(
        "import sys\n"
        "import facestream.engines.tensorrt.plans, facestream.engines.casting\n"
        "assert not {'tensorrt', 'tensorrt_rtx', 'onnx', 'torch'} & set(sys.modules)"
    )
    assert ran.returncode == 0, ran.stderr


def test_the_models_of_the_plans_are_those_that_ship() -> None:
    assert tuple(one.name for one in planned()) == NETWORKS
    for one in planned():
        assert one.path == model_path(one.name)


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_plan_read_back_is_what_its_manifest_says(name: str) -> None:
    device = cuda_devices()[0]
    variant = find_variant()
    one = network(name)
    recipe = recipe_for(
        one.path, one.options, variant=variant, target=device.architecture, gpu=device.name
    )
    plan = build_plan(one.path, recipe)
    runtime = variant.module.Runtime(trt_logger(variant))
    engine = runtime.deserialize_cuda_engine(plan.data)
    assert engine is not None
    manifest = plan.manifest
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    assert sorted(names) == sorted(one.name for one in manifest.tensors)
    for tensor in manifest.tensors:
        shape = tuple(None if n < 0 else n for n in engine.get_tensor_shape(tensor.name))
        assert shape == tensor.shape
    assert engine.num_optimization_profiles == len(manifest.profiles)
    fed = next(tensor.name for tensor in manifest.tensors if tensor.mode == "input")
    for index, profile in enumerate(manifest.profiles):
        limits = [tuple(shape) for shape in engine.get_tensor_profile_shape(fed, index)]
        assert limits == [profile.min, profile.opt, profile.max]
