"""Exports that somebody made to mislead, or to use up the machine."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.gallery import Gallery, PhotoResult, transfer

from tests.pixels import PixelReader, paint

from .conftest import stored

NPZ = transfer.EMBEDDINGS


@pytest.fixture
def exported(gallery: Gallery, tmp_path: Path) -> Path:
    """An export of Ann with two photos and Bob with one; photo ids 1 to 3."""
    for person, name in ((1, "Ann"), (1, "Ann"), (2, "Bob")):
        count = len(gallery.people()) and len(gallery.photos("Ann"))
        gallery.add(name, paint(tmp_path / f"{person}-{count}.png", person=person))
    gallery.export(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(tmp_path / "second.db", reader=PixelReader()) as opened:
        yield opened


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / transfer.DESCRIPTION
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_arrays(folder: Path, **change: Callable[[Any], Any]) -> None:
    with np.load(folder / NPZ) as kept:
        arrays = dict(kept)
    np.savez(folder / NPZ, **{name: change.get(name, lambda a: a)(a) for name, a in arrays.items()})


def restored(gallery: Gallery, folder: Path, trust: transfer.Trust) -> list[PhotoResult]:
    return [result for _, result in gallery.iter_restore(folder, trust=trust)]


def swapped(mu: Any) -> Any:
    return mu[[2, 2, 0]]


def test_another_persons_embedding_is_not_believed(
    gallery: Gallery, second: Gallery, exported: Path
) -> None:
    """Bob's embedding under Ann's name and crops would call Bob Ann."""
    edit_arrays(exported, mu=swapped)
    assert all(one.accepted for one in restored(second, exported, "nothing"))
    bob = stored(gallery).templates.mu[2:]
    assert second.search(bob, 1).names == (("Bob",),)
    np.testing.assert_array_equal(stored(second).templates.mu, stored(gallery).templates.mu)


def test_embeddings_are_taken_where_the_user_says_so(second: Gallery, exported: Path) -> None:
    edit_arrays(exported, mu=swapped)
    assert all(one.accepted for one in restored(second, exported, "embeddings"))
    assert isinstance(second._reader, PixelReader)
    assert second._reader.embedded == 0


@pytest.mark.parametrize("trust", ["nothing", "embeddings"])
def test_a_foreign_model_does_not_claim_an_empty_gallery(
    second: Gallery, exported: Path, trust: transfer.Trust
) -> None:
    edit(exported, lambda content: content.update(model_id="evil"))
    edit_arrays(exported, model_id=lambda _: np.array("evil"))
    results = restored(second, exported, trust)
    if trust == "nothing":
        assert second.model_id == "pixels-1"
    else:
        assert second.model_id is None
        assert all("of the model 'evil'" in result.detail for result in results)
        assert all("without --trust-embeddings" in result.detail for result in results)


def set_row(row: int, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.copy()
        array[row] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [("mu", np.nan), ("mu", np.inf), ("mu", 1e30), ("mu", 0), ("logvar", np.nan), ("logvar", 99)],
)
def test_rows_are_checked_one_by_one(
    second: Gallery, exported: Path, name: str, value: float
) -> None:
    edit_arrays(exported, **{name: set_row(1, value)})
    results = restored(second, exported, "embeddings")
    assert [result.accepted for result in results] == [True, False, True]
    assert "embedding is refused" in results[1].detail
    assert "\n" not in results[1].detail


def test_another_length_is_refused(second: Gallery, exported: Path, tmp_path: Path) -> None:
    second.add("Carl", paint(tmp_path / "carl.png", person=7))
    edit_arrays(exported, mu=lambda a: a[:, :8], logvar=lambda a: a[:, :8])
    results = restored(second, exported, "embeddings")
    assert {result.detail for result in results} == {
        "an embedding with 8 values is refused: those of this model have 16"
    }
    assert second.search(stored(second).templates.mu, 1).names == (("Carl",),)


@pytest.mark.parametrize("trust", ["nothing", "embeddings"])
@pytest.mark.parametrize(
    "crop",
    ["missing.png", "/etc/passwd", "../1-0.png", "crops", "x\0y", "pipe", "link", "a/" * 400],
)
def test_a_row_without_its_crop_is_refused(
    second: Gallery, exported: Path, crop: str, trust: transfer.Trust
) -> None:
    os.mkfifo(exported / "pipe")
    (exported / "link").symlink_to(exported.parent / "1-0.png")
    edit(exported, lambda content: content["people"][0]["photos"][0].update(crop=crop))
    results = restored(second, exported, trust)
    assert [result.reason for result in results] == ["unreadable", None, None]
    assert "its crop '" in results[0].detail
    assert "\n" not in results[0].detail


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )
    rows = zlib.compress(bytes(1 + 3 * 112) * 112)
    return start + b"".join(more) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMB = zlib.compress(bytes(200 * 2**20), 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%!PS-Adobe-3.0\n{} loop", "not a PNG of 112×112"),
        (b"\xff\xd8\xff\xe0 jpeg", "not a PNG"),
        (png(50_000, 50_000), "not a PNG"),
        (png(112, 112) + bytes(2**20), "larger than"),
        (png(112, 112, chunk(b"zTXt", b"k\0\0" + BOMB)), "damaged"),
    ],
    ids=["postscript", "jpeg", "pixels", "bytes", "text"],
)
def test_crops_are_small_pngs(
    second: Gallery, exported: Path, content: bytes, message: str
) -> None:
    next(exported.glob("crops/*Ann/*.png")).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = restored(second, exported, "nothing")
    assert [result.accepted for result in results] == [False, True, True]
    assert message in results[0].detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("name", ["", "unknown", "x" * 300, "a\u202eb", "a\nb"])
def test_a_name_that_cannot_be_costs_its_rows(second: Gallery, exported: Path, name: str) -> None:
    edit(exported, lambda content: content["people"][0].update(name=name))
    results = restored(second, exported, "nothing")
    assert [result.accepted for result in results] == [False, False, True]


def photo_of(content: dict[str, Any]) -> dict[str, Any]:
    photo: dict[str, Any] = content["people"][0]["photos"][0]
    return photo


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["people"][0].update(name="x" * 5000),
        lambda content: photo_of(content).update(path="x" * 5000),
        lambda content: photo_of(content).update(crop="x" * 5000),
        lambda content: photo_of(content).update(score=float("nan")),
        lambda content: photo_of(content).update(box=[1, 2, 3, float("inf")]),
        lambda content: photo_of(content).update(width=-1),
        lambda content: photo_of(content).update(id=2**70),
        lambda content: photo_of(content).update({"a\nb": 1}),
        lambda content: content.update(model_id="x" * 500),
    ],
)
def test_values_have_bounds(
    second: Gallery, exported: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(exported, change)
    with pytest.raises(GalleryError, match="not a gallery's export") as caught:
        restored(second, exported, "nothing")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_description_has_bounds(
    second: Gallery, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MOST_PHOTOS", 2)
    with pytest.raises(GalleryError, match="3 photos of 2 people; an export has at most 2"):
        restored(second, exported, "nothing")
    monkeypatch.setattr(transfer, "MOST_DESCRIPTION", 100)
    with pytest.raises(GalleryError, match="larger than 100 bytes"):
        restored(second, exported, "nothing")


def npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def bomb(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


IDS = npy((1,), "<i8", bytes(8))
MODEL = npy((), "<U8", bytes(32))


@pytest.mark.parametrize(
    "content",
    [
        b"text",
        b"PK\x03\x04 broken",
        bomb(photo_id=IDS, model_id=MODEL),
        bomb(photo_id=npy((2**60,), "<i8"), model_id=MODEL),
        bomb(photo_id=IDS, model_id=MODEL, mu=npy((1, 2**40)), logvar=npy((1, 2**40))),
        bomb(photo_id=IDS, model_id=MODEL, mu=npy((1, 16)), logvar=npy((1, 16))),
        bomb(photo_id=IDS, model_id=MODEL, mu=npy((1, 1), data=bytes(300 * 2**20)), logvar=IDS),
        bomb(photo_id=npy((1,), "|O", b"cos\nsystem\n"), model_id=MODEL),
        bomb(photo_id=IDS, model_id=npy((), f"<U{2**28}")),
    ],
    ids=["text", "broken", "missing", "ids", "wide", "short", "bomb", "pickle", "name"],
)
def test_damaged_embeddings(second: Gallery, exported: Path, content: bytes) -> None:
    (exported / NPZ).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(GalleryError, match=r"damaged.*import without --trust-embeddings") as caught:
        restored(second, exported, "embeddings")
    assert "\n" not in str(caught.value)
    assert second.people() == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert all(one.accepted for one in restored(second, exported, "nothing"))  # the advice helps


def test_without_embeddings_there_is_nothing_to_trust(second: Gallery, exported: Path) -> None:
    (exported / NPZ).unlink()
    results = restored(second, exported, "embeddings")
    assert {result.accepted for result in results} == {False}
    assert "the export has no embedding of photo 1" in results[0].detail
    assert all(one.accepted for one in restored(second, exported, "nothing"))
