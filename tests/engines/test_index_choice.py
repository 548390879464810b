"""What is chosen where, and what is told when it cannot serve. No GPU is needed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from facestream.engines.devices import CudaDevice
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.index import (
    IndexOptions,
    LayeredIndex,
    choice,
    gpu,
    index_over,
    index_status,
    open_index,
)
from facestream.engines.index.cores import KnnCore, Vectors
from facestream.engines.index.library import faiss_message, load_faiss

CARD = CudaDevice(0, "NVIDIA GeForce RTX 3060", (8, 6), 12 * 2**30)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with a GPU, and faiss-cpu installed."""
    if hasattr(load_faiss(), "StandardGpuResources"):
        pytest.skip("faiss-gpu is installed here")
    for module in (choice, __import__("facestream.engines.index", fromlist=["index"])):
        monkeypatch.setattr(module, "cuda_devices", lambda: [CARD])
    gpu.probe_gpu.cache_clear()
    yield
    gpu.probe_gpu.cache_clear()


def unit(count: int) -> Vectors:
    vectors = np.random.default_rng(0).standard_normal((count, 16)).astype(np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


@pytest.mark.usefixtures("card")
class TestAGpuThatFaissCannotUse:
    def test_auto_falls_back_and_says_why(self) -> None:
        index = open_index(16, expected=choice.MIN_GPU)
        assert (index.kind, index.device) == ("flat", "CPU")
        assert "not on the GPU" in index.reason
        assert "pip uninstall faiss-cpu, then pip install faiss-gpu" in index.reason

    def test_auto_leaves_few_vectors_on_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(choice, "_gpu", lambda *_: pytest.fail("ten people on the GPU"))
        index = index_over(np.arange(10), unit(10))
        assert index.reason == "10 vectors are searched exactly; the GPU begins at 20,000"

    def test_asked_for_it_fails(self) -> None:
        with pytest.raises(BackendUnavailable, match="is the CPU's") as caught:
            open_index(16, kind="gpu")
        assert "\n" not in str(caught.value)

    def test_strict_fails(self) -> None:
        with pytest.raises(BackendUnavailable, match="is the CPU's"):
            open_index(16, strict=True)
        assert open_index(16, strict=True, kind="flat").kind == "flat"

    def test_on_the_cpu_nobody_asks_for_it(self) -> None:
        index = open_index(16, device="cpu", strict=True)
        assert "GPU" not in index.reason

    def test_the_status_has_it(self) -> None:
        first = index_status()[0]
        assert (first.name, first.usable) == ("faiss-gpu", False)


def test_a_wheel_that_fails_at_the_first_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe runs in a process of its own: here the installed FAISS, which has no GPU code."""
    if hasattr(load_faiss(), "StandardGpuResources"):
        pytest.skip("faiss-gpu is installed here")
    fake = SimpleNamespace(
        StandardGpuResources=object, get_num_gpus=lambda: 1, __version__="1.15.1"
    )
    monkeypatch.setattr(gpu, "load_faiss", lambda: fake)
    gpu.probe_gpu.cache_clear()
    with pytest.raises(BackendUnavailable, match="cannot search on cuda:0") as caught:
        gpu.probe_gpu()
    assert "StandardGpuResources" in str(caught.value)
    assert "faiss-gpu>=1.15" in str(caught.value)
    fake.get_num_gpus = lambda: 0
    gpu.probe_gpu.cache_clear()
    with pytest.raises(BackendUnavailable, match="faiss sees no GPU"):
        gpu.probe_gpu()


def test_a_gpu_without_room_falls_back_only_in_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(vectors: Vectors) -> KnnCore:
        raise InferenceError("out of memory")

    def opened(dim: int, reason: str) -> LayeredIndex:
        return LayeredIndex(dim, build=full, kind="gpu", device="cuda:0", reason=reason)

    monkeypatch.setattr(choice, "cuda_devices", lambda: [CARD])
    monkeypatch.setattr(choice, "_gpu", opened)
    monkeypatch.setattr(choice, "MIN_GPU", 50)
    vectors, ids = unit(50), np.arange(50)
    index = index_over(ids, vectors)
    assert (index.kind, index.device) == ("flat", "CPU")
    assert "out of memory" in index.reason
    assert index.search(vectors[:2], 1)[1].ravel().tolist() == [0, 1]
    for options in (IndexOptions("gpu"), IndexOptions("auto", "strict")):
        with pytest.raises(InferenceError, match="out of memory"):
            index_over(ids, vectors, options=options)


@pytest.mark.parametrize("expected", [0, 10**7])
def test_a_cpu_compares_everything_unless_asked(expected: int) -> None:
    index = open_index(128, expected=expected, device="cpu")
    assert index.kind in ("flat", "numpy")
    assert index.reason


def test_faiss_tells_its_reason_in_a_line() -> None:
    error = RuntimeError(
        "Error in void faiss::x(int) at /project/faiss/x.cpp:65: Error: 'a < b' failed: no room\nat"
    )
    assert faiss_message(error) == "'a < b' failed: no room"
    assert faiss_message(RuntimeError("")) == "no reason given"
    assert faiss_message(RuntimeError("plain")) == "plain"
