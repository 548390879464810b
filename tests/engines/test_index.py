"""The indexes against plain numpy, and what they refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from facestream.engines.index import IndexKind, index_status, open_index
from facestream.engines.index.layered import LayeredIndex
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from .conftest import RunPython

INDEXES: tuple[IndexKind, ...] = ("flat", "numpy")
indexes = pytest.mark.parametrize("kind", INDEXES)
Vectors = NDArray[np.float32]


def unit(n: int, dim: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def check(index: LayeredIndex, stored: dict[int, Vectors], queries: Vectors, k: int) -> None:
    """What ``index`` finds is what comparing each pair in float64 finds."""
    similarities, ids = index.search(queries, k)
    assert similarities.shape == ids.shape == (len(queries), k)
    assert similarities.dtype == np.float32
    assert ids.dtype == np.int64
    n = min(k, len(stored))
    assert (ids[:, n:] == -1).all()
    assert (similarities[:, n:] == -np.inf).all()
    for query, row, found in zip(queries, similarities[:, :n], ids[:, :n], strict=True):
        exact = {i: float(v.astype(np.float64) @ query) for i, v in stored.items()}
        assert len(set(found.tolist())) == n
        np.testing.assert_allclose(row, [exact[i] for i in found.tolist()], atol=1e-5)
        np.testing.assert_allclose(row, sorted(exact.values(), reverse=True)[:n], atol=1e-5)


@indexes
@settings(max_examples=60, deadline=None)
@given(
    dim=st.sampled_from([1, 3, 8, 128]),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 40), st.integers(1, 12)),
        max_size=8,
    ),
    k=st.integers(1, 60),
    queries=st.integers(0, 20),
)
def test_finds_what_the_oracle_finds(
    kind: IndexKind, dim: int, steps: list[tuple[str, int, int]], k: int, queries: int
) -> None:
    index = open_index(dim, kind=kind)
    stored: dict[int, Vectors] = {}
    for number, (action, start, count) in enumerate(steps):
        ids = np.arange(start, start + count)
        if action == "remove":
            assert index.remove(ids) == len(stored.keys() & set(ids.tolist()))
            stored = {i: v for i, v in stored.items() if i not in ids}
        else:
            ids = np.array([i for i in ids.tolist() if i not in stored], np.int64)
            vectors = unit(len(ids), dim, number)
            index.add(ids, vectors)
            stored.update(zip(ids.tolist(), vectors, strict=True))
        assert len(index) == len(stored)
    check(index, stored, unit(queries, dim, 99), k)


@pytest.mark.parametrize("queries", [1, 6, 7, 32, 300])
def test_both_ways_of_computing_agree(queries: int) -> None:
    """Few queries are compared one by one, many as a matrix product, 300 with threads."""
    vectors = unit(60_000, 128, 0)
    probes = unit(queries, 128, 1)
    found = []
    for kind in INDEXES:
        index = open_index(128, kind=kind)
        index.add(np.arange(len(vectors))[::-1].copy(), vectors)
        found.append(index.search(probes, 3))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-5)
    assert (found[0][1] == found[1][1]).mean() > 0.99  # near ties may change places


def test_faiss_keeps_its_number_of_threads() -> None:
    import faiss

    before = faiss.omp_get_max_threads()
    index = open_index(4, kind="flat")
    index.add(np.arange(3), unit(3, 4, 0))
    index.search(unit(2, 4, 1), 1)
    assert faiss.omp_get_max_threads() == before


@indexes
def test_is_an_index(kind: IndexKind) -> None:
    index = open_index(7, kind=kind)
    assert isinstance(index, LayeredIndex)
    assert index.dim == 7
    assert len(index) == 0


@indexes
def test_large_ids_and_strided_arrays(kind: IndexKind) -> None:
    index = open_index(3, kind=kind)
    vectors = unit(4, 6, 0)[:, ::2]
    ids = np.array([2**62, 5, 2**40, 0])
    index.add(ids[::-1], vectors[::-1])
    _, found = index.search(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 4)
    assert set(found[0].tolist()) == set(ids.tolist())


@indexes
@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda i: i.add(np.array([1]), unit(1, 4, 0)), "id 1 is already in the index"),
        (lambda i: i.add(np.array([8, 8]), unit(2, 4, 0)), "id 8 is already in the index"),
        (lambda i: i.add(np.array([-1]), unit(1, 4, 0)), "id -1 is negative"),
        (lambda i: i.add(np.array([8, 9]), unit(1, 4, 0)), "2 ids do not go with 1 vectors"),
        (lambda i: i.add(np.array([8]), unit(1, 5, 0)), "vectors must be N×4, not 1×5"),
        (lambda i: i.add(np.array([8]), unit(1, 4, 0)[0]), "vectors must be N×4, not 4"),
        (
            lambda i: i.add(np.array([8]), unit(1, 4, 0).astype(np.float64)),
            "vectors must be float32, not float64",
        ),
        (lambda i: i.add(np.array([8.0]), unit(1, 4, 0)), "ids must be N integers"),
        (
            lambda i: i.add(
                np.array([8, 9]), np.array([[0, 0, 0, 1], [0, np.nan, 0, 1]], np.float32)
            ),
            "row 1 of vectors is not finite",
        ),
        (lambda i: i.search(np.full((1, 4), np.inf, np.float32), 1), "row 0 of queries is not"),
        (lambda i: i.search(unit(1, 3, 0), 1), "queries must be N×4, not 1×3"),
        (lambda i: i.search(unit(1, 4, 0), 0), "k must be at least 1, not 0"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    kind: IndexKind, attempt: Callable[[LayeredIndex], object], message: str
) -> None:
    index = open_index(4, kind=kind)
    vectors = unit(3, 4, 5)
    index.add(np.arange(3), vectors)
    with pytest.raises(ValueError, match=message):
        attempt(index)
    assert len(index) == 3
    check(index, dict(enumerate(vectors)), vectors, 4)


@indexes
def test_one_writer_and_several_readers(kind: IndexKind) -> None:
    index = open_index(16, kind=kind)
    fixed = unit(50, 16, 0)
    index.add(np.arange(50), fixed)
    moving = unit(200, 16, 1) * np.float32(0.5)  # never nearer to a fixed vector than itself
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            _, ids = index.search(fixed, 1)
            if not (ids[:, 0] == np.arange(50)).all():
                wrong.append(ids)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for start in range(0, 200, 10):
            index.add(np.arange(1000 + start, 1010 + start), moving[start : start + 10])
            index.remove(np.arange(1000 + start, 1005 + start))
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(index) == 150


def test_auto_says_what_it_took() -> None:
    index = open_index(3)
    assert (index.kind, index.device) in (("flat", "CPU"), ("gpu", "cuda:0"))
    assert index.reason
    status = [(status.name, status.usable) for status in index_status()]
    assert status[-2:] == [("faiss", True), ("numpy", True)]


@pytest.mark.parametrize(("dim", "kind"), [(0, "numpy"), (0, "flat"), (3, "annoy")])
def test_what_cannot_be_opened(dim: int, kind: str) -> None:
    with pytest.raises(ValueError, match=r"dim must be at least 1|no index 'annoy'"):
        open_index(dim, kind=kind)  # type: ignore[arg-type]


def test_without_faiss_numpy_serves(run_python: RunPython) -> None:
    ran = run_python(
        "import sys\n"
        "sys.modules['faiss'] = None\n"
        "from facestream.engines.errors import BackendUnavailable\n"
        "from facestream.engines.index import index_status, open_index\n"
        "index = open_index(3)\n"
        "print(index.kind, index.reason)\n"
        "print([one for one in index_status() if one.name == 'faiss'])\n"
        "try: open_index(3, kind='flat')\n"
        "except BackendUnavailable as error: print(error)"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("numpy faiss does not load")
    assert "IndexStatus(name='faiss', usable=False" in ran.stdout
    assert ran.stdout.rstrip().endswith("pip install faiss-cpu")


def test_faiss_loads_without_a_warning(run_python: RunPython) -> None:
    ran = run_python("from facestream.engines.index import index_status; print(index_status()[0])")
    assert ran.returncode == 0, ran.stderr
    assert "usable=True" in ran.stdout
    assert ran.stderr == ""
