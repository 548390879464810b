"""FAISS on a CUDA device against the oracle; REQUIRE_GPU=1 makes a skip a failure."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from facestream.engines.errors import BackendUnavailable
from facestream.engines.index import open_index
from facestream.engines.index.cores import Vectors
from facestream.engines.index.gpu import GpuFlatCore, probe_gpu
from facestream.engines.index.layered import CompactionPolicy, LayeredIndex

from .oracle import FlatNumpyIndex

pytestmark = pytest.mark.gpu
DIM = 128


@pytest.fixture(autouse=True)
def faiss_gpu() -> None:
    """FAISS that searches on a GPU."""
    try:
        probe_gpu()
    except BackendUnavailable as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail(f"REQUIRE_GPU=1, but {error}")
        pytest.skip(str(error))


def unit(count: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def near(vectors: Vectors, seed: int) -> Vectors:
    queries = vectors + np.float32(0.06) * unit(len(vectors), seed) * np.float32(DIM**0.5)
    lengths: Vectors = np.linalg.norm(queries, axis=1, keepdims=True)
    return (queries / lengths).astype(np.float32)


def test_the_same_neighbours_as_the_oracle() -> None:
    vectors = unit(100_000, 0)
    queries = np.concatenate([near(vectors[:1000], 1), unit(1000, 2)])
    index = LayeredIndex(DIM, build=GpuFlatCore)
    index.adopt(np.arange(len(vectors)), vectors)
    oracle = FlatNumpyIndex(DIM)
    oracle.add(np.arange(len(vectors)), vectors)
    similarities, ids = index.search(queries, 10)
    expected, exact = oracle.search(queries, 10)
    assert (ids[:, 0] == exact[:, 0]).mean() >= 0.999
    np.testing.assert_allclose(similarities[:, 0], expected[:, 0], atol=1e-4)
    assert index.search(queries[:2], 5000)[1].min() >= 0  # more than the kernels select


def test_removals_additions_and_compaction() -> None:
    index = LayeredIndex(
        DIM, build=GpuFlatCore, policy=CompactionPolicy(tail=500, tail_share=0.125)
    )
    oracle = FlatNumpyIndex(DIM)
    chance = np.random.default_rng(0)
    for step in range(20):
        ids = np.arange(400 * step, 400 * (step + 1))
        vectors = unit(400, step)
        gone = chance.choice(400 * (step + 1), 150, replace=False)
        for one in (index, oracle):
            one.add(ids, vectors)
            one.remove(gone)
        assert len(index) == len(oracle)
        queries = unit(16, 1000 + step)
        np.testing.assert_allclose(
            index.search(queries, 20)[0], oracle.search(queries, 20)[0], atol=1e-4
        )


def test_several_threads_search_while_one_adds() -> None:
    index = open_index(DIM, kind="gpu", expected=50_000)
    assert (index.kind, index.device) == ("gpu", "cuda:0")
    fixed = unit(20_000, 0)
    index.adopt(np.arange(len(fixed)), fixed)
    moving = unit(40_000, 1) * np.float32(0.5)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            ids = index.search(fixed[:64], 3)[1]
            if not (ids[:, 0] == np.arange(64)).all():
                wrong.append(ids)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for start in range(0, len(moving), 1000):
            index.add(np.arange(100_000 + start, 101_000 + start), moving[start : start + 1000])
            index.remove(np.arange(100_000 + start, 100_500 + start))
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(index) == 40_000
