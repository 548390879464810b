"""Networks on a real GPU: the same results, graphs that change nothing, memory that stays flat.

Skipped where there is no GPU; REQUIRE_GPU=1 makes that a failure.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.base import Array, Engine, Precision
from facestream.engines.cards import model_path
from facestream.engines.cuda.runtime import call
from facestream.engines.errors import InferenceError
from facestream.engines.options import EngineOptions, ImageInput, Serving, ShapeRange
from facestream.engines.registry import load_engine
from facestream.engines.serving import serve
from facestream.engines.switching import SwitchingEngine

ROOT = Path(__file__).resolve().parents[2]

# Shapes without the batch.
NETWORKS: dict[str, tuple[int, ...]] = {
    "mtcnn_pnet": (3, 120, 160),
    "mtcnn_rnet": (3, 24, 24),
    "mtcnn_onet": (3, 48, 48),
    "vae_encoder": (3, 112, 112),
    "vae_decoder": (256,),
}
BATCHES = (1, 2, 4, 8, 16)
# What a rounding of the arithmetic may turn a row of results by, and float32's own last digits.
COSINE: dict[Precision, float] = {"float32": 0.99999, "float16": 0.999, "bfloat16": 0.995}

both_backends = pytest.mark.parametrize(
    "backend",
    [
        pytest.param("onnxruntime", marks=pytest.mark.gpu),
        pytest.param("tensorrt", marks=[pytest.mark.gpu, pytest.mark.tensorrt]),
    ],
)
networks = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of plans for all tests: each is built once."""
    return tmp_path_factory.mktemp("plans")


@pytest.fixture
def load(plans: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Loads a network on the GPU, and closes it at the end."""
    opened: list[Engine] = []

    def load(name: str, backend: str, *, precision: Precision = "float32", **more: Any) -> Any:
        if backend == "onnxruntime":
            request.getfixturevalue("onnxruntime_cuda")
            if precision == "bfloat16":
                pytest.skip("ONNX Runtime does not compute it")
        options = replace(
            EngineOptions(precision=precision, shapes=shapes(name), device="cuda"), **more
        )
        engine = load_engine(model_path(name), backend=backend, options=options, cache=plans)  # type: ignore[arg-type]
        opened.append(engine)
        return engine

    yield load
    for engine in opened:
        engine.close()


def shapes(name: str, *, batches: tuple[int, ...] = BATCHES) -> ShapeRange:
    rest = NETWORKS[name]
    return ShapeRange((1, *rest), (8, *rest), (16, *rest), batches)


def feed_for(name: str, count: int, *, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).uniform(-1, 1, (count, *NETWORKS[name]))
    if name == "vae_encoder":
        values = (values + 1) * 127.5
    return values.astype(np.float32)


def run(engine: Engine, feed: Array) -> dict[str, Array]:
    return dict(engine.infer({engine.inputs[0].name: feed}))


def reference(name: str, feed: Array) -> dict[str, Array]:
    options = EngineOptions(precision="float32")
    with load_engine(model_path(name), backend="openvino", options=options) as engine:
        return run(engine, feed)


def least_cosine(found: Array, expected: Array) -> float:
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (found, expected))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def free_memory() -> int:
    """Bytes free on the device."""
    gc.collect()
    call("cudaDeviceSynchronize")
    free, _ = call("cudaMemGetInfo")
    return int(free)


@both_backends
@networks
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_the_results_are_the_references(
    load: Callable[..., Any], backend: str, name: str, precision: Precision
) -> None:
    engine = load(name, backend, precision=precision)
    assert (engine.backend, engine.device, engine.precision) == (backend, "cuda:0", precision)
    for count in (1, 5, 16, 33):  # a bucket, filled up, the largest, in parts
        feed = feed_for(name, count, seed=count)
        found = run(engine, feed)
        for output, expected in reference(name, feed).items():
            assert found[output].shape == expected.shape
            assert np.isfinite(found[output]).all()
            assert least_cosine(found[output], expected) >= COSINE[precision]
            if precision == "float32":
                scale = np.abs(expected).max()
                np.testing.assert_allclose(found[output], expected, rtol=1e-3, atol=1e-3 * scale)


@both_backends
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_graphs_change_nothing(
    load: Callable[..., Any], backend: str, precision: Precision
) -> None:
    name = "mtcnn_rnet"
    captured = load(name, backend, precision=precision)
    plain = load(name, backend, precision=precision, shapes=shapes(name, batches=()))
    if backend == "tensorrt":
        assert (captured.graphs.captured, captured.graphs.failed) == (len(BATCHES), 0)
        assert plain.graphs.captured == 0
    for count in BATCHES:
        feed = feed_for(name, count, seed=count)
        expected = run(plain, feed)
        for _ in range(3):
            for output, array in run(captured, feed).items():
                np.testing.assert_allclose(array, expected[output], rtol=1e-2, atol=1e-2)


@both_backends
def test_rows_do_not_depend_on_their_neighbours(load: Callable[..., Any], backend: str) -> None:
    """What fills a batch up must not show."""
    engine = load("mtcnn_onet", backend)
    feed = feed_for("mtcnn_onet", 7)
    run(engine, np.full((8, *NETWORKS["mtcnn_onet"]), np.nan, np.float32))
    found = run(engine, feed)
    for output, expected in reference("mtcnn_onet", feed).items():
        np.testing.assert_allclose(found[output], expected, rtol=1e-3, atol=1e-3)


@both_backends
def test_pictures_are_converted_on_the_device(load: Callable[..., Any], backend: str) -> None:
    image = ImageInput(channels="BGR", network_channels="RGB")
    engine = load("vae_encoder", backend, image_input=image)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), np.uint8)
    planes = np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32)
    found = run(engine, pictures)
    for output, expected in reference("vae_encoder", planes).items():
        assert least_cosine(found[output], expected) >= COSINE["float32"]


@both_backends
def test_callers_side_by_side(load: Callable[..., Any], backend: str) -> None:
    engine = load("mtcnn_rnet", backend)
    feeds = [feed_for("mtcnn_rnet", 1 + seed % 20, seed=seed) for seed in range(200)]
    alone = [run(engine, feed) for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda feed: run(engine, feed), feeds))
    for one, other in zip(alone, together, strict=True):
        for output, array in one.items():
            np.testing.assert_allclose(other[output], array, rtol=1e-4, atol=1e-4)


@both_backends
def test_outputs_belong_to_the_caller(load: Callable[..., Any], backend: str) -> None:
    engine = load("mtcnn_rnet", backend)
    first = run(engine, feed_for("mtcnn_rnet", 4, seed=1))["heads"]
    kept = first.copy()
    run(engine, feed_for("mtcnn_rnet", 4, seed=2))
    np.testing.assert_array_equal(first, kept)
    first[...] = 0


@both_backends
def test_memory_stays_flat_over_a_thousand_calls(load: Callable[..., Any], backend: str) -> None:
    engine = load("mtcnn_rnet", backend, precision="float16")
    feeds = [feed_for("mtcnn_rnet", count) for count in (1, 3, 8, 16, 40)]
    for feed in feeds * 20:
        run(engine, feed)
    before = free_memory()
    for _ in range(200):
        for feed in feeds:
            run(engine, feed)
    assert abs(free_memory() - before) <= 4 << 20


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_closing_gives_the_memory_back(plans: Path) -> None:
    options = EngineOptions(precision="float16", shapes=shapes("vae_encoder"), device="cuda")

    def once() -> None:
        with load_engine(
            model_path("vae_encoder"), backend="tensorrt", options=options, cache=plans
        ) as engine:
            run(engine, feed_for("vae_encoder", 16))
        with pytest.raises(InferenceError, match="is closed"):
            run(engine, feed_for("vae_encoder", 1))

    once()  # what CUDA and TensorRT keep for the process
    before = free_memory()
    for _ in range(3):
        once()
    assert before - free_memory() <= 16 << 20


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_a_plan_is_built_once_and_a_damaged_one_again(tmp_path: Path) -> None:
    options = EngineOptions(precision="float16", shapes=shapes("mtcnn_rnet"), device="cuda")
    path = model_path("mtcnn_rnet")
    feed = feed_for("mtcnn_rnet", 3)

    def results() -> Array:
        with load_engine(path, backend="tensorrt", options=options, cache=tmp_path) as engine:
            return run(engine, feed)["heads"]

    expected = results()
    (plan,) = tmp_path.glob("*.plan")
    built = plan.stat().st_mtime_ns
    np.testing.assert_allclose(results(), expected, rtol=1e-3, atol=1e-3)
    assert plan.stat().st_mtime_ns == built
    plan.write_bytes(plan.read_bytes()[:-1] + b"\0")
    np.testing.assert_allclose(results(), expected, rtol=1e-2, atol=1e-2)
    (plan,) = tmp_path.glob("*.plan")
    assert plan.stat().st_mtime_ns > built


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_captures_side_by_side_do_not_spoil_each_other(load: Callable[..., Any]) -> None:
    names = ("mtcnn_rnet", "mtcnn_onet")
    for name in names:
        load(name, "tensorrt", precision="float16").close()  # builds the plan
    with ThreadPoolExecutor(4) as pool:
        engines = list(
            pool.map(lambda name: load(name, "tensorrt", precision="float16"), names * 3)
        )
    assert {engine.graphs.failed for engine in engines} == {0}
    assert {engine.graphs.captured for engine in engines} == {len(BATCHES)}


@pytest.mark.gpu
@pytest.mark.tensorrt
def test_serving_goes_over_to_the_plan(tmp_path: Path) -> None:
    options = EngineOptions(precision="float16", shapes=shapes("mtcnn_rnet"))
    feed = feed_for("mtcnn_rnet", 5)
    expected = reference("mtcnn_rnet", feed)["heads"]
    for built in (False, True):
        with serve(
            model_path("mtcnn_rnet"), serving=Serving(cache=tmp_path), options=options
        ) as engine:
            np.testing.assert_allclose(run(engine, feed)["heads"], expected, rtol=0.05, atol=0.05)
            if not built:
                assert isinstance(engine, SwitchingEngine)
                assert engine.wait(240), "the plan is not built"
                assert engine.state == "switched", engine.reason
            assert engine.backend == "tensorrt"
            np.testing.assert_allclose(run(engine, feed)["heads"], expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("required", [False, True])
def test_without_a_gpu_these_tests_are_skipped_or_fail(required: bool) -> None:
    """A real run of pytest that is shown no device: REQUIRE_GPU=1 makes the skip a failure."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "REQUIRE_GPU": str(int(required))}
    test = f"{Path(__file__).relative_to(ROOT)}::test_closing_gives_the_memory_back"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == (1 if required else 0), ran.stdout + ran.stderr
    assert "tensorrt cannot run here: " in ran.stdout
    assert ("REQUIRE_GPU=1, but" in ran.stdout) == required
    assert ("1 skipped" in ran.stdout) != required
