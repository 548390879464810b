"""How plans are run, over the fakes: order of calls, batches, threads, faults, memory.

None of it executes on a GPU; ``test_gpu.py`` does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facestream.engines.base import Array, Engine
from facestream.engines.cuda import runtime
from facestream.engines.devices import CudaDevice
from facestream.engines.errors import BackendUnavailable, BuildFailed, InferenceError
from facestream.engines.options import EngineOptions, Serving, ShapeRange
from facestream.engines.registry import load_engine
from facestream.engines.serving import serve
from facestream.engines.switching import SwitchingEngine
from facestream.engines.tensorrt import engine as engine_module
from facestream.engines.tensorrt.build import Manifest, ProfileFacts, TensorFacts
from facestream.engines.tensorrt.engine import TensorRtEngine
from facestream.engines.tensorrt.loading import LoadedPlan
from facestream.engines.tensorrt.variant import Variant
from onnx import TensorProto, helper

from .fakes import Code, FakeCuda, FakeTensorRt

BATCHES = (1, 2, 4, 8, 16)
SHAPES = ShapeRange((1, 3, 4, 4), (4, 3, 4, 4), (16, 3, 4, 4), BATCHES)
OPTIONS = EngineOptions(precision="float32", shapes=SHAPES)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """The fake runtime; at the end nothing of it may be held any more."""
    fake = FakeCuda()
    monkeypatch.setattr(runtime, "runtime", lambda: fake)
    monkeypatch.setattr("facestream.engines.cuda.streams.runtime", lambda: fake)
    yield fake
    assert fake.memory == {}
    assert fake.graphs == 0
    assert all(stream.number == 0 for stream in fake.streams.values())


@pytest.fixture
def tensorrt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    """The fake TensorRT, with a plan of two profiles already loaded."""
    profiles = [(1, 2), (3, 16)]
    fake = FakeTensorRt(cuda, profiles)
    variant = Variant("tensorrt", "11.0.0.0", fake)
    device = CudaDevice(0, "Fake 3060", (8, 6), 12 << 30)
    manifest = Manifest(
        key="0" * 32,
        network="fake",
        parts={},
        tensors=(
            TensorFacts(name="x", mode="input", shape=(None, 3, 4, 4), dtype="float32"),
            TensorFacts(name="y", mode="output", shape=(None, 2), dtype="float32"),
        ),
        profiles=tuple(
            ProfileFacts(least=(a, 3, 4, 4), usual=(b, 3, 4, 4), most=(b, 3, 4, 4))
            for a, b in profiles
        ),
        sha256="0" * 64,
        size=1,
        build_seconds=0,
        created="2026-01-01T00:00:00Z",
    )
    monkeypatch.setattr(engine_module, "check_requirements", lambda: (variant, device))
    monkeypatch.setattr(
        engine_module, "load_plan", lambda *_, **__: LoadedPlan(variant, manifest, fake, None)
    )
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "fake.onnx"
    file.write_bytes(b"the fakes read nothing")
    return file


def rows(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 3, 4, 4)).astype(np.float32)


def expected(feed: Array) -> Array:
    flat = feed.reshape(len(feed), -1)
    return np.stack([flat.sum(1), flat.max(1)], 1)


def check(engine: TensorRtEngine, count: int, seed: int = 0) -> None:
    feed = rows(count, seed)
    found = engine.infer({"x": feed})["y"]
    np.testing.assert_allclose(found, expected(feed), rtol=1e-5)
    assert found.shape == (count, 2)


def test_it_is_an_engine(tensorrt: FakeTensorRt, path: Path) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        assert isinstance(engine, Engine)
        assert (engine.backend, engine.device, engine.precision) == (
            "tensorrt",
            "cuda:0",
            "float32",
        )
        assert engine.inputs[0].shape == (None, 3, 4, 4)
        assert repr(engine) == "TensorRtEngine(fake.onnx, sm86, float32)"


def test_any_batch_is_run_in_the_sizes_that_have_graphs(
    cuda: FakeCuda, tensorrt: FakeTensorRt, path: Path
) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        assert engine.graphs.captured == len(BATCHES)
        for count in (*range(1, 20), 33, 100):
            check(engine, count, seed=count)
        captured = engine.graphs.captured
        for count in (1, 5, 17, 100):
            cuda.calls.clear()
            check(engine, count)
            assert "cudaMemcpyAsync" not in cuda.calls  # all copies are in the graphs
            assert not {"cudaMalloc", "cudaMallocHost"} & set(cuda.calls)
        assert engine.graphs.captured == captured
        assert engine.graphs.failed == 0


def test_outputs_belong_to_the_caller(tensorrt: FakeTensorRt, path: Path) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        for count in (4, 3, 40):
            first = engine.infer({"x": rows(count, 1)})["y"]
            kept = first.copy()
            engine.infer({"x": rows(count, 2)})
            np.testing.assert_array_equal(first, kept)
            assert first.flags.writeable


def test_rows_that_are_not_contiguous(tensorrt: FakeTensorRt, path: Path) -> None:
    feed = rows(12)[::-2, ::-1]
    with TensorRtEngine(path, options=OPTIONS) as engine:
        found = engine.infer({"x": feed})["y"]
    np.testing.assert_allclose(found, expected(np.ascontiguousarray(feed)), rtol=1e-5)


def test_callers_side_by_side_have_runners_of_their_own(tensorrt: FakeTensorRt, path: Path) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine, ThreadPoolExecutor(4) as pool:
        together = threading.Barrier(4)

        def call(seed: int) -> None:
            if seed < 4:
                together.wait()
            check(engine, 1 + seed % 20, seed)

        for done in [pool.submit(call, seed) for seed in range(80)]:
            done.result()


def test_memory_stays_as_it_is_after_the_first_calls(
    cuda: FakeCuda, tensorrt: FakeTensorRt, path: Path
) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        for count in range(1, 40):
            check(engine, count)
        held, contexts = len(cuda.memory), tensorrt.contexts
        for count in range(1, 40):
            check(engine, count, seed=count)
        assert (len(cuda.memory), tensorrt.contexts) == (held, contexts)


def test_without_batches_there_are_no_graphs(tensorrt: FakeTensorRt, path: Path) -> None:
    shapes = ShapeRange(SHAPES.min, SHAPES.opt, SHAPES.max)
    options = EngineOptions(precision="float32", shapes=shapes)
    with TensorRtEngine(path, options=options) as engine:
        for count in (2, 16, 1, 7):  # over both profiles and back
            check(engine, count)
        assert engine.graphs.captured == 0
        with pytest.raises(InferenceError, match=r"takes shapes from \(1, 3, 4, 4\) to"):
            engine.infer({"x": rows(17)})
        check(engine, 16)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("cudaStreamEndCapture", Code.cudaErrorStreamCaptureInvalidated),
        ("cudaGraphInstantiateWithFlags", Code.cudaErrorMemoryAllocation),
        ("cudaGraphLaunch", Code.cudaErrorIllegalAddress),
    ],
)
def test_what_cannot_be_captured_is_launched_plainly(
    cuda: FakeCuda,
    tensorrt: FakeTensorRt,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    code: Code,
) -> None:
    cuda.fail(name, code)
    with caplog.at_level(logging.WARNING), TensorRtEngine(path, options=OPTIONS) as engine:
        assert (engine.graphs.captured, engine.graphs.failed) == (0, len(BATCHES))
        for count in (1, 5, 40):
            check(engine, count)
    assert [record.message for record in caplog.records] == [
        f"fake runs without CUDA graphs: {code.name}: text of {code.value} ({name})"
    ]


def test_a_capture_that_holds_nothing_is_noticed(
    cuda: FakeCuda, tensorrt: FakeTensorRt, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.loses_captures = True
    with TensorRtEngine(path, options=OPTIONS) as engine:
        assert engine.graphs.failed == len(BATCHES)
        check(engine, 9)
    assert "the capture of a CUDA graph holds no work" in caplog.text


def test_a_fault_of_the_device_is_told_with_cudas_own_name(
    cuda: FakeCuda, tensorrt: FakeTensorRt, path: Path
) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        check(engine, 3)
        cuda.fail("cudaGraphLaunch", Code.cudaErrorIllegalAddress)
        with pytest.raises(InferenceError, match=r"^cudaErrorIllegalAddress: text of 700"):
            engine.infer({"x": rows(3)})
        del cuda.fails["cudaGraphLaunch"]
        check(engine, 3)  # on a new runner


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("name", ["cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags"])
def test_no_memory_at_the_start(
    cuda: FakeCuda, tensorrt: FakeTensorRt, path: Path, name: str, after: int
) -> None:
    """The message is CUDA's, and what was taken before is given back."""
    cuda.fail(name, Code.cudaErrorMemoryAllocation, after=0 if name.startswith("cudaS") else after)
    if name == "cudaMallocHost" and after == 2:
        TensorRtEngine(path, options=OPTIONS).close()  # an input and an output: two are enough
        return
    with pytest.raises(InferenceError, match="cudaErrorMemoryAllocation"):
        TensorRtEngine(path, options=OPTIONS)


def test_closing_lets_calls_under_way_end(tensorrt: FakeTensorRt, path: Path) -> None:
    engine = TensorRtEngine(path, options=OPTIONS)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(np.ndarray[tuple[int, ...], np.dtype[np.float32]]):
        def __getitem__(self, key: Any) -> Any:
            inside.set()
            assert go_on.wait(30)
            return np.asarray(self)[key]

    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(engine.infer, {"x": rows(3).view(Slow)})
        assert inside.wait(30)
        engine.close()
        engine.close()
        go_on.set()
        np.testing.assert_allclose(under_way.result(30)["y"], expected(rows(3)), rtol=1e-5)
    with pytest.raises(InferenceError, match=r"the engine of fake\.onnx is closed"):
        engine.infer({"x": rows(1)})


def test_wrong_feeds(tensorrt: FakeTensorRt, path: Path) -> None:
    with TensorRtEngine(path, options=OPTIONS) as engine:
        with pytest.raises(InferenceError, match="input 'x' must be float32, not float64"):
            engine.infer({"x": rows(1).astype(np.float64)})
        with pytest.raises(InferenceError, match="input 'x' must be N×3×4×4 and not empty"):
            engine.infer({"x": rows(0)})
        check(engine, 1)


def test_without_a_gpu_the_reason_comes_first(path: Path) -> None:
    from facestream.engines.devices import driver_report

    if driver_report().devices:
        pytest.skip("there is a GPU")
    with pytest.raises(BackendUnavailable, match=r"^tensorrt cannot run here: no NVIDIA driver"):
        TensorRtEngine(path, options=OPTIONS)


def test_the_build_can_be_broken_off(
    tensorrt: FakeTensorRt, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    load: Callable[..., LoadedPlan] = vars(engine_module)["load_plan"]

    def load_plan(*arguments: Any, progress: Any, **more: Any) -> LoadedPlan:
        assert progress("Building", 0.5) is True
        stop.set()
        assert progress("Building", 0.6) is False
        return load(*arguments, progress=progress, **more)

    monkeypatch.setattr(engine_module, "load_plan", load_plan)
    monkeypatch.setattr("facestream.engines.registry.cuda_devices", lambda: [object()])
    with load_engine(path, backend="tensorrt", options=OPTIONS, stop=stop) as engine:
        assert engine.backend == "tensorrt"


@pytest.fixture
def same_network(tmp_path: Path) -> Path:
    """What the fakes compute, as a network that other backends run."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceSum", ["flat", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceMax", ["flat", "axis"], ["max"], keepdims=1),
        helper.make_node("Concat", ["sum", "max"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 2))],
        [helper.make_tensor("axis", TensorProto.INT64, (1,), [1])],
    )
    path = tmp_path / "same.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    return path


def test_serving_goes_over_to_the_plan_when_it_is_built(
    tensorrt: FakeTensorRt, same_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``serve`` with a GPU: another backend until the plan is there, and nobody notices."""
    go = threading.Event()
    load: Callable[..., LoadedPlan] = vars(engine_module)["load_plan"]

    def load_plan(*arguments: Any, **more: Any) -> LoadedPlan:
        assert go.wait(30)
        return load(*arguments, **more)

    (variant, device) = vars(engine_module)["check_requirements"]()
    monkeypatch.setattr(
        "facestream.engines.tensorrt.variant.check_requirements", lambda: (variant, device)
    )
    monkeypatch.setattr("facestream.engines.registry.cuda_devices", lambda: [device])
    monkeypatch.setattr(engine_module, "load_plan", load_plan)
    serving = Serving(cache=tmp_path / "cache")
    feed = rows(6)
    with serve(same_network, serving=serving, options=OPTIONS) as engine:
        assert isinstance(engine, SwitchingEngine)
        assert (engine.backend, engine.device) == ("openvino", "CPU")
        np.testing.assert_allclose(engine.infer({"x": feed})["y"], expected(feed), rtol=1e-4)
        go.set()
        assert engine.wait(30)
        assert engine.reason == ""
        assert (engine.backend, engine.device) == ("tensorrt", "cuda:0")
        np.testing.assert_allclose(engine.infer({"x": feed})["y"], expected(feed), rtol=1e-4)


def test_serving_that_is_closed_breaks_the_build_off(
    tensorrt: FakeTensorRt, same_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_plan(*_: Any, progress: Callable[[str, float], bool], **__: Any) -> LoadedPlan:
        while progress("Building", 0.5):
            threading.Event().wait(0.01)
        raise BuildFailed("the build was stopped")

    (variant, device) = vars(engine_module)["check_requirements"]()
    monkeypatch.setattr(
        "facestream.engines.tensorrt.variant.check_requirements", lambda: (variant, device)
    )
    monkeypatch.setattr("facestream.engines.registry.cuda_devices", lambda: [device])
    monkeypatch.setattr(engine_module, "load_plan", load_plan)
    serving = Serving(cache=tmp_path / "cache")
    with serve(same_network, serving=serving, options=OPTIONS) as engine:
        assert engine.backend == "openvino"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("build of")]
