"""Folders in, folders out, and back in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError, OutputError
from facestream.pipeline.gallery import Gallery, plan_import

from tests.pixels import PixelReader, paint

from .conftest import stored

Photos = Callable[..., list[Path]]
NAMES = ["../x", "/etc/passwd", "..", "a/b\\c", "李小龙", "CON", "x" * 200, ".hidden", "[bold]"]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    paint(folder / "Ann" / "1.png", person=1)
    paint(folder / "Ann" / "2.png", person=1)
    paint(folder / "李小龙" / "1.jpg.png", person=2, shade=3)
    paint(folder / "Bob" / "none.png", faces=0)
    (folder / "Empty").mkdir()
    (folder / "Unknown").mkdir()
    paint(folder / "Unknown" / "1.png", person=3, shade=4)
    (folder / "Ann" / "notes.txt").write_text("x")
    (folder / "Ann" / "deeper").mkdir()
    (folder / "readme.txt").write_text("x")
    (folder / ".cache").mkdir()
    return folder


def test_a_folder_a_person(gallery: Gallery, people: Path) -> None:
    seen = []
    report = gallery.import_folder(people, progress=lambda name, _: seen.append(name))
    assert seen == ["Ann", "Ann", "Bob", "李小龙"]
    assert [result.reason for _, result in report.results] == [None, None, "no_face", None]
    assert [(p.name, p.photos) for p in gallery.people()] == [("Ann", 2), ("李小龙", 1)]
    notes = "\n".join(report.notes)
    for word in ("readme.txt", "Empty", "not pictures", "folders inside 'Ann'", "'Unknown'"):
        assert word in notes
    assert ".cache" not in notes


def test_importing_again_adds_nothing(gallery: Gallery, people: Path, reader: PixelReader) -> None:
    gallery.import_folder(people)
    embedded = reader.embedded
    report = gallery.import_folder(people)
    assert [r.reason for _, r in report.results] == [
        "duplicate",
        "duplicate",
        "no_face",
        "duplicate",
    ]
    assert reader.embedded == embedded


def test_folders_that_hold_nobody(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="cannot be read"):
        plan_import(tmp_path / "missing")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(GalleryError, match="cannot be read"):
        plan_import(file)
    folder = tmp_path / "flat"
    paint(folder / "1.png")
    with pytest.raises(GalleryError, match="gallery add NAME FOLDER"):
        plan_import(folder)


def fill(gallery: Gallery, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES, 1):
        gallery.add(name, paint(tmp_path / "photos" / f"{number}.png", person=number))


def test_export_and_back(gallery: Gallery, tmp_path: Path) -> None:
    fill(gallery, tmp_path)
    gallery.export(tmp_path / "out")
    with Gallery(tmp_path / "second.db", reader=PixelReader()) as second:
        report = second.import_folder(tmp_path / "out")
        assert all(result.accepted for _, result in report.results)
        assert {p.name for p in second.people()} == set(NAMES)
        assert second.model_id == "pixels-1"
        before, after = stored(gallery), stored(second)
        names = [before.names[int(person)] for person in before.templates.person_ids]
        again = [after.names[int(person)] for person in after.templates.person_ids]
        order = [again.index(name) for name in names]
        np.testing.assert_array_equal(before.templates.mu, after.templates.mu[order])
        np.testing.assert_array_equal(before.templates.logvar, after.templates.logvar[order])
        for name in NAMES:
            mine, theirs = gallery.photos(name)[0], second.photos(name)[0]
            assert mine.sha256 == theirs.sha256
            assert mine.box.tolist() == theirs.box.tolist()
            np.testing.assert_array_equal(gallery.crop(mine), second.crop(theirs))
        report = second.import_folder(tmp_path / "out")
        assert {result.reason for _, result in report.results} == {"duplicate"}


def test_export_stays_in_its_folder(gallery: Gallery, tmp_path: Path) -> None:
    fill(gallery, tmp_path)
    parent = tmp_path / "a" / "b"
    gallery.export(parent / "out")
    assert [p.name for p in parent.iterdir()] == ["out"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    crops = sorted((parent / "out" / "crops").iterdir())
    assert len(crops) == len(NAMES)
    assert all(len(list(folder.iterdir())) == 1 for folder in crops)
    assert all(len(folder.name) < 60 and "." not in folder.name for folder in crops)


def test_export_does_not_write_over_things(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "kept.txt"
    kept.write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        gallery.export(tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be written"):
        gallery.export(kept)
    assert kept.read_text() == "mine"


def test_an_empty_gallery_can_be_exported(gallery: Gallery, tmp_path: Path) -> None:
    assert gallery.export(tmp_path / "out").people == ()
    with Gallery(tmp_path / "second.db", reader=PixelReader()) as second:
        assert second.import_folder(tmp_path / "out").results == []


def test_another_model_embeds_the_crops(gallery: Gallery, tmp_path: Path, photos: Photos) -> None:
    gallery.add("Ann", *photos(1))
    gallery.export(tmp_path / "out")
    newer = PixelReader("pixels-2", dim=8)
    with Gallery(tmp_path / "second.db", reader=newer) as second:
        second.add("Bob", *photos(2))
        second.import_folder(tmp_path / "out")
        assert stored(second).templates.mu.shape == (4, 8)
        assert second.model_id == "pixels-2"


def edited(folder: Path, edit: Callable[[dict[str, object]], None]) -> None:
    path = folder / "gallery.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_crop_outside_the_export_is_not_read(
    gallery: Gallery, tmp_path: Path, photos: Photos
) -> None:
    gallery.add("Ann", *photos(1))
    gallery.export(tmp_path / "out")

    def point_elsewhere(content: dict) -> None:  # type: ignore[type-arg]
        content["people"][0]["photos"][0]["crop"] = "../photos/1-0.png"

    edited(tmp_path / "out", point_elsewhere)
    with Gallery(tmp_path / "second.db", reader=PixelReader()) as second:
        results = [result for _, result in second.import_folder(tmp_path / "out").results]
    assert [result.reason for result in results] == ["unreadable", None]
    assert "outside" in results[0].detail


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gallery.json", b"{", "not a gallery's export"),
        ("gallery.json", b'{"format": "x"}', "not a gallery's export"),
    ],
)
def test_damaged_exports(
    gallery: Gallery, tmp_path: Path, photos: Photos, file: str, content: bytes, message: str
) -> None:
    gallery.add("Ann", *photos(1))
    gallery.export(tmp_path / "out")
    (tmp_path / "out" / file).write_bytes(content)
    with Gallery(tmp_path / "second.db", reader=PixelReader()) as second:
        with pytest.raises(GalleryError, match=message) as caught:
            second.import_folder(tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert second.people() == []
