"""The GPU's cores over a stand-in that behaves as FAISS's does: no removal, no second thread.

What the kernels compute is tested on a device (``test_index_gpu.py``); here it is who uses what.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from facestream.engines.errors import InferenceError
from facestream.engines.index import gpu
from facestream.engines.index.cores import Build, Vectors
from facestream.engines.index.gpu import GpuFlatCore
from facestream.engines.index.layered import CompactionPolicy, LayeredIndex
from facestream.engines.index.library import load_faiss
from numpy.typing import NDArray

from .oracle import FlatNumpyIndex


class Resources:
    """May be used by one thread at a time."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.temporary = self.pinned = 0

    def setTempMemory(self, size: int) -> None:
        self.temporary = size

    def setPinnedMemory(self, size: int) -> None:
        self.pinned = size


class GpuIndexFlatIP:
    """FAISS on the CPU, with the GPU's limits."""

    room = 10**9

    def __init__(self, resources: Resources, dim: int, config: Any) -> None:
        self.resources, self.half = resources, config.useFloat16
        self.added: list[int] = []
        self._index = load_faiss().IndexFlatIP(dim)

    def add(self, vectors: Vectors) -> None:
        self._alone(lambda: self._add(vectors))

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        if k > 2048:
            raise RuntimeError("Error: 'k <= 2048' failed: GPU index only supports k up to 2048")
        found: tuple[Vectors, NDArray[np.int64]] = self._alone(
            lambda: self._index.search(queries, k)
        )
        return found

    def _add(self, vectors: Vectors) -> None:
        if self._index.ntotal + len(vectors) > self.room:
            raise RuntimeError("Error in x at y:1: Error: 'err == cudaSuccess' failed: no memory")
        self.added.append(len(vectors))
        kept = vectors.astype(np.float16).astype(np.float32) if self.half else vectors
        self._index.add(kept)

    def _alone(self, call: Any) -> Any:
        if not self.resources.busy.acquire(blocking=False):
            raise AssertionError("two threads use the same resources")
        try:
            time.sleep(0.0005)  # long enough for others to come
            return call()
        finally:
            self.resources.busy.release()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    module = SimpleNamespace(
        StandardGpuResources=Resources,
        GpuIndexFlatConfig=SimpleNamespace,
        GpuIndexFlatIP=GpuIndexFlatIP,
    )
    monkeypatch.setattr(gpu, "load_faiss", lambda: module)
    return module


def unit(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


@pytest.mark.usefixtures("fake")
def test_threads_that_make_and_search_cores_never_share_resources_at_once() -> None:
    vectors = unit(2000)
    index = LayeredIndex(16, build=GpuFlatCore, policy=CompactionPolicy(tail=60, tail_share=0.01))
    index.adopt(np.arange(2000), vectors)
    failed: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for step in range(8):
                ids = np.arange(1000 * number + 50 * step, 1000 * number + 50 * (step + 1))
                index.add(ids, unit(50, number + step) * np.float32(0.5))
                found = index.search(vectors[:5], 2)[1]
                assert found[:, 0].tolist() == [0, 1, 2, 3, 4]
        except BaseException as error:  # noqa: BLE001 - told by the test's thread
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(index) == 2000 + 4 * 400


def test_each_core_has_resources_of_its_own_with_bounded_memory(
    fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Resources] = []

    def resources() -> Resources:
        made.append(Resources())
        return made[-1]

    monkeypatch.setattr(fake, "StandardGpuResources", resources)
    GpuFlatCore(unit(10))
    GpuFlatCore(unit(10))
    assert [(one.temporary, one.pinned) for one in made] == [(gpu.TEMP_BYTES, gpu.PINNED_BYTES)] * 2


@pytest.mark.usefixtures("fake")
def test_half_precision_is_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_UPLOAD", 700)
    vectors = unit(3000)
    queries = unit(50, 1)
    oracle = FlatNumpyIndex(16)
    oracle.add(np.arange(3000), vectors)
    core = GpuFlatCore(vectors)
    assert core._index.added == [700, 700, 700, 700, 200]
    index = LayeredIndex(16, build=cast(Build, lambda _: core))
    index.adopt(np.arange(3000), vectors)
    for k in (1, 10, 3000):  # the last is more than the kernels select
        similarities, ids = index.search(queries, k)
        np.testing.assert_allclose(similarities, oracle.search(queries, k)[0], atol=1e-5)
        assert (ids >= 0).all()


@pytest.mark.usefixtures("fake")
def test_no_memory_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index stays as it was."""
    index = LayeredIndex(16, build=GpuFlatCore, policy=CompactionPolicy(tail=10))
    vectors = unit(300)
    index.adopt(np.arange(200), vectors[:200])
    monkeypatch.setattr(GpuIndexFlatIP, "room", 250)
    with pytest.raises(InferenceError, match="500 vectors of 16 cannot be put on the GPU"):
        index.add(np.arange(200, 500), unit(300, 1))
    assert len(index) == 200
    assert index.search(vectors[:3], 1)[1].ravel().tolist() == [0, 1, 2]
