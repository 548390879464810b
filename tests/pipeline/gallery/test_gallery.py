"""People and photos: added, found, renamed, removed; each photo once."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import (
    GalleryError,
    ModelMismatch,
    PersonExists,
    PersonNotFound,
)
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.identity.decision import Thresholds, decide_frame

from tests.pixels import PixelReader, paint

from .conftest import stored

Photos = Callable[..., list[Path]]


def test_what_was_added_is_there_when_opened_again(
    tmp_path: Path, reader: PixelReader, photos: Photos
) -> None:
    path = tmp_path / "people.db"
    with Gallery(path, reader=reader) as gallery:
        results = gallery.add("Ann", *photos(1))
        assert [result.accepted for result in results] == [True, True]
        assert [result.path for result in results] == photos(1)
        assert gallery.model_id == "pixels-1"
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["people.db"]
    with Gallery(path, create="never") as gallery:
        person = gallery.person("ann")
        assert (person.name, person.photos) == ("Ann", 2)
        photo = gallery.photos("Ann")[0]
        assert photo.path == str(photos(1)[0])
        assert (photo.width, photo.height) == (120, 120)
        assert photo.box.tolist() == [0, 5, 60, 65]
        assert photo.landmarks.shape == (5, 2)
        assert gallery.crop(photo).shape == (112, 112, 3)
        assert gallery.crop(photo)[0, 0].tolist() == [1, 60, 1]


def test_only_the_owner_may_read_the_file(gallery: Gallery) -> None:
    assert stat.S_IMODE(gallery.path.stat().st_mode) == 0o600


def test_each_rejection_has_its_reason(any_gallery: Gallery, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    results = any_gallery.add(
        "Ann",
        paint(tmp_path / "none.png", faces=0),
        paint(tmp_path / "two.png", faces=2),
        paint(tmp_path / "small.png", side=30),
        text,
        empty,
        tmp_path / "missing.png",
        paint(tmp_path / "good.png"),
    )
    assert [result.reason for result in results] == [
        "no_face",
        "several_faces",
        "too_small",
        "unreadable",
        "unreadable",
        "unreadable",
        None,
    ]
    assert all(result.detail for result in results[:-1])
    assert any_gallery.person("Ann").photos == 1


def test_nobody_is_made_without_a_good_photo(gallery: Gallery, tmp_path: Path) -> None:
    gallery.add("Ann", paint(tmp_path / "none.png", faces=0))
    assert gallery.people() == []


def test_the_same_photo_is_not_added_twice(
    any_gallery: Gallery, tmp_path: Path, photos: Photos
) -> None:
    one = photos(1, 1)[0]
    copy = Path(shutil.copy(one, tmp_path / "copy.png"))
    results = any_gallery.add("Ann", one, one, copy)
    assert [result.reason for result in results] == [None, "duplicate", "duplicate"]
    assert not any(result.rejected for result in results)
    other = any_gallery.add("Bob", one)[0]
    assert other.reason == "other_person"
    assert other.rejected
    assert "Ann" in other.detail
    assert [person.name for person in any_gallery.people()] == ["Ann"]


def test_arrays_and_folders(gallery: Gallery, photos: Photos) -> None:
    image = np.full((120, 120, 3), 7, np.uint8)
    image[0, 0] = 1, 60, 1
    assert gallery.add("Ann", image)[0].accepted
    assert gallery.add("Ann", image.copy())[0].reason == "duplicate"
    assert len(gallery.add("Ann", photos(1, 3)[0].parent)) == 3


def test_one_person_whatever_the_spelling(any_gallery: Gallery, photos: Photos) -> None:
    one, two, three = photos(1, 3)
    any_gallery.add("José Álvarez", one)
    any_gallery.add("  jose\u0301 A\u0301LVAREZ ", two)
    any_gallery.add("李小龙", three)
    assert [(person.name, person.photos) for person in any_gallery.people()] == [
        ("José Álvarez", 2),
        ("李小龙", 1),
    ]


def test_names_are_neither_sql_nor_lost(any_gallery: Gallery, photos: Photos) -> None:
    name = "Robert'); DROP TABLE people;--"
    any_gallery.add(name, *photos(1))
    assert any_gallery.person(name).name == name
    assert any_gallery.person(name).photos == 2


def test_unknown_people_come_with_suggestions(gallery: Gallery, photos: Photos) -> None:
    with pytest.raises(PersonNotFound, match="empty"):
        gallery.person("Ann")
    gallery.add("Barack Obama", *photos(1))
    with pytest.raises(PersonNotFound, match="did you mean 'Barack Obama'"):
        gallery.person("barak obma")
    for change in (gallery.remove, gallery.photos):
        with pytest.raises(PersonNotFound, match="gallery list"):
            change("Zoë")


def test_rename(any_gallery: Gallery, photos: Photos) -> None:
    any_gallery.add("ann", *photos(1))
    any_gallery.add("Bob", *photos(2))
    before = any_gallery.person("ann").id
    assert any_gallery.rename("ann", "Ann").name == "Ann"  # another case of the own name
    assert any_gallery.rename("ANN", "Anna").id == before
    with pytest.raises(PersonExists, match="'Bob'"):
        any_gallery.rename("Anna", "BOB")
    with pytest.raises(GalleryError, match="empty"):
        any_gallery.rename("Anna", " ")
    assert [person.name for person in any_gallery.people()] == ["Anna", "Bob"]


def test_remove_takes_everything_along(
    gallery: Gallery, reader: PixelReader, photos: Photos
) -> None:
    gallery.add("Ann", *photos(1))
    gallery.add("Bob", *photos(2))
    crop = gallery.crop(gallery.photos("Ann")[0])
    mu, _ = reader.embed(crop[None])
    ann = mu[0].tobytes()
    kept = stored(gallery)
    assert kept.templates.mu[0].tobytes() == ann
    assert ann in gallery.path.read_bytes()
    assert gallery.remove("ann").photos == 2
    assert [person.name for person in gallery.people()] == ["Bob"]
    assert ann not in gallery.path.read_bytes()
    # The photo may be added again, and ids are not used twice.
    gallery.add("Cem", *photos(1))
    assert gallery.person("Cem").id == 3


def test_another_model_is_refused_and_re_embedding_helps(
    any_gallery: Gallery, photos: Photos
) -> None:
    any_gallery.add("Ann", *photos(1))
    other = PixelReader("pixels-2", dim=8)
    with Gallery(any_gallery.location, reader=other) as later:
        for use in (
            lambda: later.require_model("pixels-2"),
            lambda: later.add("Ann", *photos(1, 3)),
        ):
            with pytest.raises(ModelMismatch, match="facestream gallery re-embed"):
                use()
        steps: list[tuple[int, int]] = []
        assert later.re_embed(progress=lambda done, total: steps.append((done, total))) == 2
        assert steps == [(2, 2)]
        later.require_model("pixels-2")
        assert later.search(np.ones((1, 8), np.float32)).names[0][0] == "Ann"
        assert later.re_embed() == 0
    with pytest.raises(ModelMismatch):
        any_gallery.add("Ann", *photos(1, 4))


def test_re_embedding_that_is_cut_off_changes_nothing(
    gallery: Gallery, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facestream.pipeline.gallery.enrol.RE_EMBED_BATCH", 2)
    gallery.add("Ann", *photos(1, 5))
    with Gallery(gallery.location, reader=PixelReader("pixels-2", dim=8)) as later:

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            later.re_embed(progress=stop)
        assert later.model_id == "pixels-1"
        assert len(stored(later).templates.mu) == 5
        assert later.re_embed() == 3  # two were done


def test_an_emptied_gallery_takes_any_model(any_gallery: Gallery, photos: Photos) -> None:
    any_gallery.add("Ann", *photos(1))
    any_gallery.remove("Ann")
    with Gallery(any_gallery.location, reader=PixelReader("pixels-2")) as later:
        assert later.add("Ann", *photos(1))[0].accepted


def test_search_follows_changes(any_gallery: Gallery, reader: PixelReader, photos: Photos) -> None:
    anybody = np.ones((1, 16), np.float32)
    nobody = any_gallery.search(anybody, 3)
    assert nobody.person_ids.tolist() == [[-1, -1, -1]]
    assert nobody.names == ((None, None, None),)
    any_gallery.add("Ann", *photos(1))
    any_gallery.add("Bob", *photos(2))
    mu, _ = reader.embed(
        np.stack([any_gallery.crop(p) for n in ("Ann", "Bob") for p in any_gallery.photos(n)[:1]])
    )
    found = any_gallery.search(mu, 3)
    assert [row[0] for row in found.names] == ["Ann", "Bob"]
    assert found.similarities[:, 0] == pytest.approx(1.0, abs=1e-5)
    assert found.person_ids[:, 2].tolist() == [-1, -1]
    names = [i.name for i in decide_frame(found, Thresholds(similarity=0.6))]
    assert names == ["Ann", "Bob"]
    any_gallery.rename("Bob", "Robert")
    any_gallery.remove("Ann")
    assert any_gallery.search(mu, 1).names[1] == ("Robert",)


def test_refresh_sees_other_processes(any_gallery: Gallery, photos: Photos) -> None:
    anybody = np.ones((1, 16), np.float32)
    any_gallery.search(anybody, 1)
    with Gallery(any_gallery.location, reader=PixelReader()) as other:
        other.add("Ann", *photos(1))
    assert any_gallery.search(anybody, 1).names == ((None,),)
    assert any_gallery.refresh()
    assert not any_gallery.refresh()
    assert any_gallery.search(anybody, 1).names == (("Ann",),)


def test_a_file_name_that_is_not_utf8(any_gallery: Gallery, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    good = paint(tmp_path / "good.png")
    try:
        good.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert any_gallery.add("Ann", odd)[0].accepted
    assert any_gallery.photos("Ann")[0].path.endswith("caf�.png")
