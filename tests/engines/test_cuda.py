"""The thin layer over the CUDA runtime: growth, errors, captures; over a fake runtime.

What the real binding says without a driver is tried as well, where it is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
from facestream.engines.cuda import runtime, streams
from facestream.engines.cuda.memory import Buffer
from facestream.engines.cuda.streams import Stream
from facestream.engines.devices import driver_report
from facestream.engines.errors import InferenceError
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RunPython
from .tensorrt.fakes import Code, FakeCuda


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    fake = FakeCuda()
    monkeypatch.setattr(runtime, "runtime", lambda: fake)
    monkeypatch.setattr(streams, "runtime", lambda: fake)
    yield fake
    assert fake.memory == {}
    assert fake.graphs == 0


def test_a_buffer_moves_only_when_it_grows(cuda: FakeCuda) -> None:
    with Buffer("device") as buffer:
        buffer.reserve(1000)
        first = buffer.address
        for need in (10, 1000):
            buffer.reserve(need)
            assert (buffer.address, buffer.size) == (first, 1000)
        buffer.reserve(1001)
        assert buffer.size == 1500
        buffer.reserve(5000)
        assert buffer.size == 5000
        assert cuda.calls.count("cudaMalloc") == 3
        assert cuda.calls.count("cudaFree") == 2


@given(st.lists(st.integers(1, 1 << 20), max_size=100))
def test_sizes_that_creep_up_cost_few_allocations(needs: list[int]) -> None:
    fake = FakeCuda()
    with pytest.MonkeyPatch.context() as patch, Buffer("device") as buffer:
        patch.setattr(runtime, "runtime", lambda: fake)
        for need in sorted(needs):
            buffer.reserve(need)
            assert buffer.size >= need
        buffer.close()
    assert fake.calls.count("cudaMalloc") <= 2 + np.log(1 << 20) / np.log(1.5)


def test_a_buffer_without_memory_is_empty_and_may_try_again(cuda: FakeCuda) -> None:
    with Buffer("pinned") as buffer:
        buffer.reserve(100)
        cuda.fail("cudaMallocHost", Code.cudaErrorMemoryAllocation)
        with pytest.raises(InferenceError) as caught:
            buffer.reserve(1000)
        assert str(caught.value) == "cudaErrorMemoryAllocation: text of 2 (cudaMallocHost)"
        assert (buffer.address, buffer.size) == (0, 0)
        assert "cudaGetLastError" in cuda.calls  # else the next call would report it again
        cuda.fails.clear()
        buffer.reserve(1000)
        assert buffer.size == 1000


def test_pinned_memory_as_an_array(cuda: FakeCuda) -> None:
    with Buffer("pinned") as buffer:
        buffer.reserve(64)
        array = buffer.array((2, 4), np.float32)
        array[...] = 7
        assert buffer.array((8,), np.float32).tolist() == [7] * 8
        assert buffer.array((3,), np.uint8).dtype == np.uint8
        with pytest.raises(ValueError, match=r"no \(100,\) float32 in 64 bytes of pinned memory"):
            buffer.array((100,), np.float32)
    with Buffer("device") as buffer:
        buffer.reserve(64)
        with pytest.raises(ValueError, match="of device memory"):
            buffer.array((1,), np.float32)


def test_a_capture_executes_nothing_until_it_is_launched(cuda: FakeCuda) -> None:
    with Stream() as stream, Buffer("pinned") as host, Buffer("device") as device:
        host.reserve(4)
        device.reserve(4)
        value = host.array((1,), np.float32)

        def there_and_back() -> None:
            stream.upload(device.address, host.address, 4)
            stream.download(host.address, device.address, 4)

        value[0] = 1
        stream.upload(device.address, host.address, 4)
        stream.synchronize()
        value[0] = 2
        with stream.capture(there_and_back) as graph:
            stream.synchronize()
            assert value[0] == 2
            graph.launch(stream)
            stream.synchronize()
        assert value[0] == 2


def test_work_that_fails_in_a_capture_leaves_the_stream_usable(cuda: FakeCuda) -> None:
    def work() -> None:
        raise InferenceError("refused")

    with Stream() as stream:
        with pytest.raises(InferenceError, match="refused"):
            stream.capture(work)
        stream.synchronize()
        with pytest.raises(InferenceError, match="holds no work"):
            stream.capture(lambda: None)
        cuda.fail("cudaStreamEndCapture", Code.cudaErrorStreamCaptureInvalidated)
        with pytest.raises(InferenceError, match="refused"):
            stream.capture(work)
        cuda.fails.clear()
        stream.synchronize()


def test_closing_twice_does_no_harm(cuda: FakeCuda) -> None:
    for thing in (Stream(), Buffer("device"), Buffer("pinned")):
        thing.close()
        thing.close()


def test_without_the_binding(run_python: RunPython) -> None:
    ran = run_python(
        "import sys\n"
        "sys.modules['cuda'] = None\n"
        "from facestream.engines.cuda.runtime import call\n"
        "from facestream.engines.errors import BackendUnavailable\n"
        "try: call('cudaGetDeviceCount')\n"
        "except BackendUnavailable as error: print(error)\n"
    )
    assert ran.stdout.startswith("cuda-bindings "), ran.stderr
    assert ran.stdout.rstrip().endswith("pip install cuda-bindings")


needs_binding = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None,
    reason="needs cuda-bindings",
)


@needs_binding
def test_the_real_binding_without_a_driver() -> None:
    if driver_report().devices:
        pytest.skip("there is a GPU")
    with pytest.raises(InferenceError, match=r"^cudaError\w+: CUDA driver \w.* \(cudaMalloc\)$"):
        runtime.call("cudaMalloc", 256)
    with pytest.raises(InferenceError, match=r"\(cudaStreamCreateWithFlags\)$"):
        Stream()


@needs_binding
@pytest.mark.parametrize("as_address", [True, False])
def test_the_real_binding_takes_arguments_as_they_are_given(as_address: bool) -> None:
    """Without a driver it fails, but not for their types: streams as objects and as addresses."""
    if driver_report().devices:
        pytest.skip("there is a GPU, which would be handed made-up addresses")
    module = runtime.runtime()
    stream = 5 if as_address else module.cudaStream_t(5)
    graph, executable = module.cudaGraph_t(7), module.cudaGraphExec_t(8)
    up = runtime.kind("cudaMemcpyKind", "cudaMemcpyHostToDevice")
    mode = runtime.kind("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
    calls: dict[str, tuple[object, ...]] = {
        "cudaMallocHost": (256,),
        "cudaFree": (256,),
        "cudaFreeHost": (256,),
        "cudaMemcpyAsync": (256, 512, 16, up, stream),
        "cudaStreamSynchronize": (stream,),
        "cudaStreamBeginCapture": (stream, mode),
        "cudaStreamEndCapture": (stream,),
        "cudaStreamDestroy": (stream,),
        "cudaGraphGetNodes": (graph, 0),
        "cudaGraphInstantiateWithFlags": (graph, 0),
        "cudaGraphLaunch": (executable, stream),
        "cudaGraphDestroy": (graph,),
        "cudaGraphExecDestroy": (executable,),
    }
    for name, arguments in calls.items():
        with pytest.raises(InferenceError, match=rf"^cudaError\w+: .* \({name}\)$"):
            runtime.call(name, *arguments)


@needs_binding
def test_the_fake_has_the_names_of_the_real_one() -> None:
    module = runtime.runtime()
    names = {name.removeprefix("do_") for name in dir(FakeCuda) if name.startswith("do_cuda")}
    names |= {name for name in dir(FakeCuda) if name.startswith("cuda")}
    assert names <= set(dir(module))
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for value in vars(getattr(FakeCuda, kind)):
            assert runtime.kind(kind, value) is not None
    assert {code.name for code in Code} <= {code.name for code in module.cudaError_t}


@pytest.mark.gpu
@needs_binding
def test_memory_streams_and_graphs_for_real() -> None:
    size = 1 << 20
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    with (
        Stream() as stream,
        Buffer("pinned") as up,
        Buffer("pinned") as down,
        Buffer("device") as there,
    ):
        for buffer in (up, down, there):
            buffer.reserve(size)
        up.array((size,), np.uint8)[...] = values

        def there_and_back() -> None:
            stream.upload(there.address, up.address, size)
            stream.download(down.address, there.address, size)

        there_and_back()
        stream.synchronize()
        found = down.array((size,), np.uint8)
        np.testing.assert_array_equal(found, values)
        found[...] = 0
        with stream.capture(there_and_back) as graph:
            assert not found.any()
            graph.launch(stream)
            stream.synchronize()
        np.testing.assert_array_equal(found, values)
        with pytest.raises(InferenceError, match=r"^cudaErrorMemoryAllocation"):
            there.reserve(1 << 45)
