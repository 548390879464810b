"""What approximate indexes build over a gallery's file: kept, erased with people, made anew."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.index import choice
from facestream.engines.index.structures import StructureKind, _read
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery import Gallery, cache, structures
from facestream.pipeline.gallery.index import Searching, normalised
from facestream.pipeline.gallery.records import Embedded, Face

KINDS: tuple[StructureKind, ...] = ("hnsw", "ivfpq")
kinds = pytest.mark.parametrize("kind", KINDS)
PEOPLE = 300


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries of 280 photos are large."""
    monkeypatch.setattr(cache, "CACHED", 280)
    monkeypatch.setattr(choice, "LEAST_HNSW", 280)
    monkeypatch.setattr(choice, "LEAST_IVFPQ", 280)


def mu_of(person: int) -> Floats:
    return np.random.default_rng(person).normal(size=16).astype(np.float32)


def enrol(gallery: Gallery, people: range) -> None:
    for person in people:
        face = Face(
            path="",
            sha256=f"{person}",
            width=1,
            height=1,
            box=np.zeros(4, np.float32),
            landmarks=np.zeros((5, 2), np.float32),
            score=1.0,
            crop=np.zeros((112, 112, 3), np.uint8),
        )
        gallery._store.add(f"P{person}", face, Embedded("m", mu_of(person), mu_of(0)))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "people.db"
    with (
        Gallery(path) as gallery,
        pytest.MonkeyPatch.context() as patch,
        gallery._store._write() as session,
    ):
        # One transaction for all: a hundred of their own take seconds.
        patch.setattr(gallery._store, "_write", lambda: nullcontext(session))
        enrol(gallery, range(PEOPLE))
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path))  # with its mode


def structure(path: Path, kind: StructureKind) -> Path:
    return path.with_name(f"people.db.templates.{kind}")


def finds(path: Path, kind: StructureKind, people: list[int]) -> None:
    """Each of these is found, and nobody else is taken for them."""
    with Gallery(path, create="never", searching=Searching(kind)) as gallery:
        assert gallery.index_info().kind == kind
        found = gallery.search(np.stack([mu_of(person) for person in people]), 1)
        assert [row[0] for row in found.names] == [f"P{person}" for person in people]
        np.testing.assert_allclose(found.similarities[:, 0], 1, atol=1e-5)


@kinds
def test_built_once(kind: StructureKind, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finds(path, kind, [1, 200])
    assert structure(path, kind).stat().st_mode & 0o777 == 0o600

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(structures, "save_structure", refuse)
    finds(path, kind, [1, 200])


@kinds
def test_who_came_later_is_found_and_who_left_is_not(kind: StructureKind, path: Path) -> None:
    finds(path, kind, [1])
    with Gallery(path) as gallery:
        enrol(gallery, range(PEOPLE, PEOPLE + 20))
        gallery.remove("P7")
    finds(path, kind, [1, 6, 8, PEOPLE, PEOPLE + 19])
    with Gallery(path, create="never", searching=Searching(kind)) as gallery:
        assert (gallery.search(mu_of(7)[None], 3).similarities < 0.99).all()
        assert gallery.templates() == PEOPLE + 19
    assert _read(structure(path, kind)).ntotal == (PEOPLE if kind == "hnsw" else PEOPLE - 1)
    with Gallery(path) as gallery:
        enrol(gallery, range(PEOPLE + 20, PEOPLE + 60))
    finds(path, kind, [1, PEOPLE + 59])
    finds(path, kind, [1, PEOPLE + 59])  # too many in the file by now: built anew
    assert _read(structure(path, kind)).ntotal > PEOPLE + 50


def test_a_removed_person_leaves_no_code(path: Path) -> None:
    finds(path, "ivfpq", [7])
    index = _read(structure(path, "ivfpq"))
    unit, _ = normalised(mu_of(7)[None])
    code = index.sa_encode(unit)[0, index.coarse_code_size() :].tobytes()
    before = structure(path, "ivfpq").read_bytes().count(code)
    with Gallery(path) as gallery:
        gallery.remove("P7")
    assert structure(path, "ivfpq").read_bytes().count(code) == before - 1
    assert _read(structure(path, "ivfpq")).ntotal == PEOPLE - 1


@kinds
@pytest.mark.parametrize("content", [b"", b"hello"])
def test_damaged_ones_are_built_anew(kind: StructureKind, content: bytes, path: Path) -> None:
    finds(path, kind, [1])
    good = structure(path, kind).read_bytes()
    structure(path, kind).write_bytes(content or good[:500] + b"!" + good[501:])
    finds(path, kind, [1, 2])
    assert len(structure(path, kind).read_bytes()) == len(good)


@kinds
def test_they_go_with_the_file_they_belong_to(kind: StructureKind, path: Path) -> None:
    finds(path, kind, [1])
    path.with_name("people.db.templates").write_bytes(b"damaged")
    with Gallery(path) as gallery:
        gallery.refresh()
    assert not structure(path, kind).exists()


def test_one_that_cannot_be_kept_serves_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(structures, "save_structure", full)
    finds(path, "hnsw", [1, 2])
    assert not structure(path, "hnsw").exists()


def test_one_that_can_be_neither_changed_nor_deleted_refuses_the_removal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finds(path, "ivfpq", [7])

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "erase_structure", refuse)
    monkeypatch.setattr(cache, "shred", refuse)
    with Gallery(path) as gallery:
        with pytest.raises(GalleryError, match="cannot be overwritten"):
            gallery.remove("P7")
        assert gallery.person("P7").photos == 1
