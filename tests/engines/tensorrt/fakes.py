"""A fake CUDA runtime and a fake TensorRT, for call order and faults. No GPU is behind them.

The runtime keeps "device" memory on the host, and does the work of a stream only when somebody
waits for it, so that whoever reads too early reads rubbish. The contexts of TensorRT compute one
small function, and take it amiss when they are changed after their work was captured.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

Work = Callable[[], None]


class Code(enum.IntEnum):
    cudaSuccess = 0  # CUDA's own names
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureInvalidated = 901


class FakeStream:
    def __init__(self, number: int) -> None:
        self.number = number
        self.work: list[Work] = []
        self.captured: list[Work] | None = None

    def __int__(self) -> int:
        return self.number

    def put(self, work: Work) -> None:
        (self.work if self.captured is None else self.captured).append(work)


class FakeGraph:
    def __init__(self, work: list[Work]) -> None:
        self.work = work

    def __int__(self) -> int:
        return 1


class FakeCuda:
    """Stands in for ``cuda.bindings.runtime``."""

    cudaError_t = Code
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="mine")

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[str, tuple[int, Code]] = {}
        self.memory: dict[int, Any] = {}
        self.pinned: set[int] = set()
        self.streams: dict[int, FakeStream] = {}
        self.graphs = 0
        self.loses_captures = False

    def fail(self, name: str, code: Code, *, after: int = 0) -> None:
        """Let a function fail from its next call but ``after`` on."""
        self.fails[name] = (after, code)

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        work = getattr(type(self), f"do_{name}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            left, code = self.fails.get(name, (1, Code.cudaSuccess))
            if name in self.fails:
                if left == 0:
                    if name == "cudaStreamEndCapture":  # a broken capture is over as well
                        work(self, *arguments)
                    return code, None
                self.fails[name] = (left - 1, code)
            values = work(self, *arguments)
            return (Code.cudaSuccess, *(values if isinstance(values, tuple) else (values,)))

        return call

    def stream(self, stream: Any) -> FakeStream:
        return self.streams[int(stream)]

    def do_cudaGetErrorString(self, code: Code) -> bytes:
        return f"text of {code.value}".encode()

    def do_cudaGetLastError(self) -> None: ...

    def do_cudaMalloc(self, size: int) -> int:
        buffer = (ctypes.c_ubyte * size)(*b"\xff" * min(size, 64))
        self.memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def do_cudaMallocHost(self, size: int) -> int:
        address = self.do_cudaMalloc(size)
        self.pinned.add(address)
        return address

    def do_cudaFree(self, address: int) -> None:
        assert address not in self.pinned
        del self.memory[address]

    def do_cudaFreeHost(self, address: int) -> None:
        self.pinned.remove(address)
        del self.memory[address]

    def do_cudaStreamCreateWithFlags(self, flags: int) -> FakeStream:
        assert flags == self.cudaStreamNonBlocking
        stream = FakeStream(len(self.streams) + 100)
        self.streams[stream.number] = stream
        return stream

    def do_cudaStreamDestroy(self, stream: FakeStream) -> None:
        assert not stream.work
        self.streams[stream.number] = FakeStream(0)

    def do_cudaStreamSynchronize(self, stream: FakeStream) -> None:
        assert stream.captured is None
        while stream.work:
            stream.work.pop(0)()

    def do_cudaMemcpyAsync(self, to: int, source: int, size: int, kind: str, stream: Any) -> None:
        host, device = (source, to) if kind == "up" else (to, source)
        assert host in self.pinned
        assert device not in self.pinned

        def copy() -> None:
            for address in (to, source):
                assert size <= len(self.memory[address])
            ctypes.memmove(to, source, size)

        self.stream(stream).put(copy)

    def do_cudaStreamBeginCapture(self, stream: FakeStream, mode: str) -> None:
        assert mode == "mine"
        stream.captured = []

    def do_cudaStreamEndCapture(self, stream: FakeStream) -> FakeGraph:
        work, stream.captured = stream.captured, None
        assert work is not None
        return FakeGraph([] if self.loses_captures else work)

    def do_cudaGraphGetNodes(self, graph: FakeGraph, count: int) -> tuple[list[Any], int]:
        return [], len(graph.work)

    def do_cudaGraphInstantiateWithFlags(self, graph: FakeGraph, flags: int) -> FakeGraph:
        self.graphs += 1
        return FakeGraph(list(graph.work))

    def do_cudaGraphDestroy(self, graph: FakeGraph) -> None:
        graph.work = []

    def do_cudaGraphLaunch(self, graph: FakeGraph, stream: FakeStream) -> None:
        stream.work += graph.work

    def do_cudaGraphExecDestroy(self, graph: FakeGraph) -> None:
        self.graphs -= 1


class FakeContext:
    """Computes ``y`` N×2, sum and largest of each row of ``x``."""

    def __init__(self, cuda: FakeCuda, profiles: Sequence[tuple[int, int]]) -> None:
        self._cuda = cuda
        self._profiles = profiles
        self._captured = False
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}
        self._scratch = 0
        self.active_optimization_profile = 0

    def _change(self) -> None:
        assert not self._captured, "a context was changed after its work was captured"

    def set_device_memory(self, address: int, size: int) -> None:
        self._change()
        assert len(self._cuda.memory[address]) >= size
        self._scratch = address

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._change()
        self.active_optimization_profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._change()
        least, most = self._profiles[self.active_optimization_profile]
        self._shape = shape
        return name == "x" and least <= shape[0] <= most

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._change()
        self._addresses[name] = address
        return True

    def infer_shapes(self) -> list[str]:
        return []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], 2)

    def execute_async_v3(self, stream: int) -> bool:
        fake = self._cuda.stream(stream)
        self._captured = self._captured or fake.captured is not None
        shape, addresses, scratch = self._shape, dict(self._addresses), self._scratch

        def compute() -> None:
            assert scratch in self._cuda.memory
            rows = _array(addresses["x"], shape).reshape(shape[0], -1)
            _array(addresses["y"], (shape[0], 2))[...] = np.stack([rows.sum(1), rows.max(1)], 1)

        fake.put(compute)
        return True


class FakeTensorRt:
    """Stands in for the module, its runtime, and the ``ICudaEngine`` of every plan."""

    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="lent")
    device_memory_size_v2 = 4096

    def __init__(self, cuda: FakeCuda, profiles: Sequence[tuple[int, int]]) -> None:
        self._cuda = cuda
        self._profiles = profiles
        self.contexts = 0

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def create_execution_context(self, how: str) -> FakeContext:
        assert how == "lent"
        self.contexts += 1
        return FakeContext(self._cuda, self._profiles)


def _array(address: int, shape: tuple[int, ...]) -> Any:
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)
