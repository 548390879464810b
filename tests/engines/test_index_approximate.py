"""HNSW and IVF-PQ: exact similarities, bounded misses, structures on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import MODELS
from facestream.engines.errors import IndexFileError, InferenceError
from facestream.engines.index import IndexKind, choose_kind, open_index
from facestream.engines.index.approximate import HnswCore, IvfPqCore
from facestream.engines.index.choice import FLAT_FLOATS, LEAST_IVFPQ
from facestream.engines.index.cores import Vectors
from facestream.engines.index.layered import LayeredIndex
from facestream.engines.index.library import searching
from facestream.engines.index.structures import (
    StructureKind,
    erase_structure,
    load_structure,
    save_structure,
    structure_count,
)

from .oracle import FlatNumpyIndex

KINDS: tuple[StructureKind, ...] = ("hnsw", "ivfpq")
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
    with searching():
        return {"hnsw": HnswCore(faces), "ivfpq": IvfPqCore(faces)}


def probes(faces: Vectors, count: int = 200) -> Vectors:
    """Other pictures of some of them: at a cosine of 0.7."""
    noise = np.random.default_rng(0).standard_normal((count, faces.shape[1])).astype(np.float32)
    queries = np.sqrt(0.7) * faces[:count] + np.sqrt(0.3 / faces.shape[1]) * noise
    lengths: Vectors = np.linalg.norm(queries, axis=1, keepdims=True)
    found: Vectors = (queries / lengths).astype(np.float32)
    return found


@kinds
def test_recall_and_exact_similarities(
    kind: StructureKind, faces: Vectors, cores: dict[str, HnswCore | IvfPqCore]
) -> None:
    index = LayeredIndex(faces.shape[1])
    index.adopt(np.arange(len(faces)), faces, core=cores[kind])
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
    index = LayeredIndex(faces.shape[1])
    index.adopt(np.arange(len(faces)), faces, core=cores[kind])
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


@kinds
def test_structures_are_kept(
    kind: StructureKind,
    faces: Vectors,
    cores: dict[str, HnswCore | IvfPqCore],
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    save_structure(cores[kind], path, tag="t", count=len(faces))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [place.name for place in tmp_path.iterdir()] == ["x"]
    assert structure_count(path, kind=kind, tag="t") == len(faces)
    assert structure_count(path, kind=kind, tag="other") is None
    assert structure_count(tmp_path / "y", kind=kind, tag="t") is None
    again = load_structure(path, kind=kind, vectors=faces)
    queries = probes(faces)
    np.testing.assert_array_equal(again.search(queries, 5)[1], cores[kind].search(queries, 5)[1])
    # No file holds a vector.
    assert faces[77].tobytes() not in path.read_bytes()


@kinds
@pytest.mark.parametrize("place", [200, -5000, -4000])
def test_damaged_structures_are_refused(
    kind: StructureKind,
    place: int,
    faces: Vectors,
    cores: dict[str, HnswCore | IvfPqCore],
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    save_structure(cores[kind], path, tag="t", count=len(faces))
    content = bytearray(path.read_bytes())
    content[place] ^= 0x41
    path.write_bytes(content if place != -4000 else content[:-4000])
    with pytest.raises(IndexFileError, match="'x'"):
        load_structure(path, kind=kind, vectors=faces)
    with pytest.raises(IndexFileError):
        load_structure(path, kind=kind, vectors=faces[:100])


def test_codes_are_erased(
    faces: Vectors, cores: dict[str, HnswCore | IvfPqCore], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    core = cores["ivfpq"]
    save_structure(core, path, tag="t", count=len(faces))
    assert isinstance(core, IvfPqCore)
    code = core.structure.sa_encode(faces[77:78])[0, core.structure.coarse_code_size() :].tobytes()
    assert path.read_bytes().count(code) == 1
    with path.open("rb") as old:  # who has the old file open
        erase_structure(path, np.array([77, 78]))
        assert not any(old.read())
    assert code not in path.read_bytes()
    assert structure_count(path, kind="ivfpq", tag="t") == len(faces)
    again = load_structure(path, kind="ivfpq", vectors=faces)
    found = again.search(faces[76:80], 1)[1][:, 0]
    assert found[[0, 3]].tolist() == [76, 79]
    assert not {77, 78} & set(found.tolist())


def test_the_choice_follows_the_size() -> None:
    largest = FLAT_FLOATS // 128
    assert choose_kind(largest, 128).kind == "flat"
    assert choose_kind(largest + 1, 128).kind == "hnsw"
    assert choose_kind(largest, 512).kind == "hnsw"
    assert choose_kind(0, 128).reason


def test_too_few_to_approximate_are_searched_exactly() -> None:
    index = open_index(128, kind="ivfpq", expected=LEAST_IVFPQ - 1)
    assert index.kind == "flat"
    assert "ivfpq begins at 10,000" in index.reason
    assert open_index(128, kind="ivfpq", expected=LEAST_IVFPQ).kind == "ivfpq"
    with pytest.raises(InferenceError, match="cannot be trained on 10"):
        IvfPqCore(np.ones((10, 128), np.float32))
