"""HNSW and IVF-PQ: exact similarities, bounded misses."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.engines.cards import MODELS
from facestream.engines.errors import InferenceError
from facestream.engines.index import IndexOptions, index_over, open_index
from facestream.engines.index.approximate import HnswCore, IvfPqCore
from facestream.engines.index.choice import MIN_IVFPQ, IndexKind
from facestream.engines.index.cores import Vectors
from facestream.engines.index.layered import LayeredIndex
from facestream.engines.index.library import single_threaded

from .oracle import FlatNumpyIndex

KINDS: tuple[IndexKind, ...] = ("hnsw", "ivfpq")
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def faces() -> Vectors:
    """Embeddings of 10,000 real faces, of length 1."""
    vectors: Vectors = np.asarray(np.load(MODELS / "vae_cohort.npy")[:10_000], np.float32)
    lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = np.ascontiguousarray(vectors / lengths)
    return found


@pytest.fixture(scope="module")
def cores(faces: Vectors) -> dict[str, HnswCore | IvfPqCore]:
    """Built once: it takes seconds, on one thread (several wait long on a busy machine)."""
    with single_threaded():
        return {"hnsw": HnswCore(faces), "ivfpq": IvfPqCore(faces)}


def over(core: HnswCore | IvfPqCore, faces: Vectors) -> LayeredIndex:
    index = LayeredIndex(faces.shape[1], build=lambda _: core)
    index.adopt(np.arange(len(faces)), faces)
    return index


def probes(faces: Vectors, count: int = 200) -> Vectors:
    """Other pictures of some of them: at a cosine of 0.7."""
    noise = np.random.default_rng(0).standard_normal((count, faces.shape[1])).astype(np.float32)
    queries = np.sqrt(0.7) * faces[:count] + np.sqrt(0.3 / faces.shape[1]) * noise
    lengths: Vectors = np.linalg.norm(queries, axis=1, keepdims=True)
    found: Vectors = (queries / lengths).astype(np.float32)
    return found


@kinds
def test_recall_and_exact_similarities(
    kind: IndexKind, faces: Vectors, cores: dict[str, HnswCore | IvfPqCore]
) -> None:
    index = over(cores[kind], faces)
    oracle = FlatNumpyIndex(faces.shape[1])
    oracle.add(np.arange(len(faces)), faces)
    queries = probes(faces)
    similarities, ids = index.search(queries, 10)
    expected, exact = oracle.search(queries, 10)
    assert (ids[:, 0] == exact[:, 0]).mean() >= 0.99
    same = [len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), exact.tolist(), strict=True)]
    assert np.mean(same) >= 0.9
    # Whatever was found has its true cosine, in order.
    np.testing.assert_allclose(
        similarities, np.einsum("md,mkd->mk", queries, faces[ids]), atol=1e-5
    )
    assert (np.diff(similarities, axis=1) <= 1e-6).all()
    assert (similarities <= expected + 1e-5).all()


@kinds
def test_removals_additions_and_deep_searches(
    kind: IndexKind, faces: Vectors, cores: dict[str, HnswCore | IvfPqCore]
) -> None:
    index = over(cores[kind], faces)
    assert index.remove(np.arange(0, 100)) == 100
    index.add(np.arange(20_000, 20_050), faces[:50])
    similarities, ids = index.search(faces[:100], 1)
    assert ids[:50, 0].tolist() == list(range(20_000, 20_050))
    np.testing.assert_allclose(similarities[:50, 0], 1, atol=1e-5)
    assert not np.isin(index.search(faces[:100], 30)[1], np.arange(100)).any()
    # All of them in order: what a core cannot be asked for is compared exactly.
    similarities, ids = index.search(faces[:1], len(index))
    assert len(set(ids[0].tolist())) == len(index) == 9_950
    assert (ids >= 0).all()


def test_too_few_to_approximate_are_searched_exactly() -> None:
    index = open_index(128, kind="ivfpq", expected=MIN_IVFPQ - 1)
    assert index.kind == "flat"
    assert "ivfpq begins at 10,000" in index.reason
    assert open_index(128, kind="ivfpq", expected=MIN_IVFPQ).kind == "ivfpq"
    with pytest.raises(InferenceError, match="cannot be trained on 10"):
        IvfPqCore(np.ones((10, 128), np.float32))


@kinds
def test_an_index_over_vectors_is_built_as_asked(kind: IndexKind, faces: Vectors) -> None:
    with single_threaded():
        index = index_over(np.arange(len(faces)), faces, options=IndexOptions(kind))
    assert (index.kind, index.device, len(index)) == (kind, "CPU", len(faces))
    similarities, ids = index.search(faces[:20], 1)
    assert ids[:, 0].tolist() == list(range(20))
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-5)
