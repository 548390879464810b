"""Additions, removals and renewals over cores that know none, against the oracle."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from facestream.engines.errors import InferenceError
from facestream.engines.index.cores import Core, KnnCore, Vectors
from facestream.engines.index.layered import CompactionPolicy, LayeredIndex
from facestream.engines.index.library import load_faiss
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from numpy.typing import NDArray

from .oracle import FlatNumpyIndex

DIM = 8


class AppendOnly:
    """FAISS's plain index on the CPU, used as the GPU's must be: filled once, never removed from.

    Asked for more than ``max_k`` it refuses, as the GPU's kernels do.
    """

    exact = True
    max_k: int | None = 40

    def __init__(self, vectors: Vectors) -> None:
        self._index = load_faiss().IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        if self.max_k is not None and k > self.max_k:
            raise InferenceError(f"asked for {k} neighbours")
        found: tuple[Vectors, NDArray[np.int64]] = self._index.search(queries, k)
        return found


class Rounded(AppendOnly):
    """Its similarities have two digits: what it finds must be scored again."""

    exact = False

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        similarities, at = super().search(queries, k)
        return np.round(similarities, 2), at


class Forgetful(AppendOnly):
    """Finds at most five neighbours, as an approximate index with few candidates."""

    exact = False

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        similarities, at = super().search(queries, k)
        similarities[:, 5:], at[:, 5:] = -np.inf, -1
        return similarities, at


def unit(n: int, seed: int, dim: int = DIM) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def same(index: LayeredIndex, oracle: FlatNumpyIndex, queries: Vectors, k: int) -> None:
    similarities, ids = index.search(queries, k)
    expected, _ = oracle.search(queries, k)
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    for row, found in enumerate(ids):
        there = found[found >= 0]
        assert len(set(there.tolist())) == len(there) == min(k, len(oracle))
        vectors, known = index.vectors(there)
        assert known.all()
        np.testing.assert_allclose(
            vectors @ queries[row], similarities[row, : len(there)], atol=1e-5
        )


class Machine(RuleBasedStateMachine):
    """Any order of additions and removals; small limits, so that renewals happen often."""

    ids = Bundle("ids")
    core: Callable[[Vectors], Core] = AppendOnly

    def __init__(self) -> None:
        super().__init__()
        self.index = LayeredIndex(
            DIM,
            build=type(self).core,
            policy=CompactionPolicy(tail=20, tail_share=0.5, deleted_share=0.3),
        )
        self.oracle = FlatNumpyIndex(DIM)
        self.next = 0
        self.step = 0

    @rule(target=ids, count=st.integers(0, 60), gap=st.integers(0, 3))
    def add(self, count: int, gap: int) -> object:
        ids = np.arange(count, dtype=np.int64) + self.next + gap
        np.random.default_rng(count).shuffle(ids)
        self.next += count + gap
        self.step += 1
        vectors = unit(count, self.step)
        self.index.add(ids, vectors)
        self.oracle.add(ids, vectors)
        return multiple(*ids.tolist())

    @rule(some=st.lists(consumes(ids), max_size=25), foreign=st.integers(0, 10**6))
    def remove(self, some: list[int], foreign: int) -> None:
        ids = np.array([*some, 10**7 + foreign], np.int64)
        assert self.index.remove(ids) == self.oracle.remove(ids) == len(some)

    @rule(one=consumes(ids))
    def again_after_removal(self, one: int) -> None:
        """A removed id may come back with another vector."""
        ids, vectors = np.array([one]), unit(1, one + 5000)
        for index in (self.index, self.oracle):
            index.remove(ids)
            index.add(ids, vectors)

    @rule(queries=st.integers(1, 5), k=st.integers(1, 70), seed=st.integers(0, 999))
    def search(self, queries: int, k: int, seed: int) -> None:
        same(self.index, self.oracle, unit(queries, seed), k)

    @invariant()
    def as_many(self) -> None:
        assert len(self.index) == len(self.oracle)


class RoundedMachine(Machine):
    core = Rounded


class ForgetfulMachine(Machine):
    """Asked a second time in vain, it is passed over: nothing that is there is ever missing."""

    core = Forgetful

    @rule(queries=st.integers(1, 5), k=st.integers(6, 70), seed=st.integers(0, 999))
    def search(self, queries: int, k: int, seed: int) -> None:
        same(self.index, self.oracle, unit(queries, seed), max(k, 6))


for machine in (Machine, RoundedMachine, ForgetfulMachine):
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAppendOnly = Machine.TestCase
TestRounded = RoundedMachine.TestCase
TestForgetful = ForgetfulMachine.TestCase


def test_readers_see_whole_states_while_a_writer_adds_removes_and_renews() -> None:
    """What stays is always found; nothing is found that is not there or was removed before."""
    index = LayeredIndex(
        16, build=AppendOnly, policy=CompactionPolicy(tail=50, tail_share=0.25, deleted_share=0.2)
    )
    fixed = unit(64, 0, 16)
    index.add(np.arange(64), fixed)
    moving = unit(3000, 1, 16) * np.float32(0.5)  # never nearer to a fixed vector than itself
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.wait(0.001):  # else the readers alone would run
            similarities, ids = index.search(fixed, 3)
            if not (ids[:, 0] == np.arange(64)).all() or not np.isfinite(similarities).all():
                wrong.append((similarities, ids))

    def write(start: int) -> None:
        for first in range(start, start + 1500, 30):
            index.add(np.arange(1000 + first, 1030 + first), moving[first : first + 30])
            index.remove(np.arange(1000 + first, 1020 + first))

    readers = [threading.Thread(target=read) for _ in range(3)]
    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 1500)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    assert len(index) == 64 + 1000


def test_a_reader_goes_on_while_a_bulk_is_made() -> None:
    """Building may take minutes (a graph, an upload): searches are answered meanwhile."""
    building, go_on = threading.Event(), threading.Event()

    def slow(vectors: Vectors) -> Core:
        if len(vectors) > 100:
            building.set()
            assert go_on.wait(30)
        return KnnCore(vectors)

    index = LayeredIndex(DIM, build=slow, policy=CompactionPolicy(tail=50))
    vectors = unit(200, 0)
    index.add(np.arange(60), vectors[:60])
    writer = threading.Thread(target=index.add, args=(np.arange(60, 200), vectors[60:]))
    writer.start()
    try:
        assert building.wait(30)
        assert index.search(vectors[:3], 1)[1].ravel().tolist() == [0, 1, 2]
        assert len(index) == 60
    finally:
        go_on.set()
        writer.join()
    assert len(index) == 200
    assert index.search(vectors[150:153], 1)[1].ravel().tolist() == [150, 151, 152]


def test_the_bulk_is_made_again_only_when_a_quarter_is_gone() -> None:
    made: list[int] = []

    def count(vectors: Vectors) -> Core:
        made.append(len(vectors))
        return KnnCore(vectors)

    index = LayeredIndex(DIM, build=count)
    vectors = unit(1000, 0)
    index.adopt(np.arange(1000), vectors)
    index.remove(np.arange(250))
    assert made == [1000]
    index.remove(np.array([250]))
    assert made == [1000, 749]
    index.remove(np.arange(1000))
    assert made == [1000, 749]
    assert len(index) == 0
    assert index.search(vectors[:1], 2)[1].tolist() == [[-1, -1]]


def test_what_was_adopted_is_not_copied_and_not_changed() -> None:
    vectors = unit(500, 0)
    kept = vectors.copy()
    vectors.flags.writeable = False
    index = LayeredIndex(DIM)
    index.adopt(np.arange(500)[::-1].copy(), vectors)
    index.add(np.array([1000]), unit(1, 7))
    index.remove(np.arange(10))
    assert index.search(kept[:3], 1)[1].ravel().tolist() == [499, 498, 497]
    with pytest.raises(ValueError, match="empty index"):
        index.adopt(np.arange(500), vectors)
    with pytest.raises(ValueError, match="2 ids do not go with"):
        LayeredIndex(DIM).adopt(np.arange(2), vectors)


def test_vectors_of_ids_that_are_not_there() -> None:
    index = LayeredIndex(DIM)
    vectors = unit(3, 0)
    index.add(np.arange(3), vectors)
    index.remove(np.array([1]))
    found, there = index.vectors(np.array([2, 1, 9]))
    assert there.tolist() == [True, False, False]
    np.testing.assert_array_equal(found[0], vectors[2])
    assert (found[1:] == 0).all()
