"""People under two names and photos of somebody else are found; merging and removing mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError, PersonNotFound
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.gallery import Gallery, plan_import
from facestream.pipeline.gallery.findings import GalleryCheck
from facestream.pipeline.gallery.groups import groups_of
from facestream.pipeline.gallery.records import select_photo
from facestream.pipeline.identity.decision import Thresholds

from tests.pixels import PixelReader, paint

from .conftest import stored
from .test_changes import agrees, mu_of

Photos = Callable[..., list[Path]]
THRESHOLDS = Thresholds(similarity=0.9)


def checked(gallery: Gallery, *people: str) -> GalleryCheck:
    return gallery.check(people or None, thresholds=THRESHOLDS)


def test_nothing_to_find(gallery: Gallery, photos: Photos) -> None:
    assert checked(gallery).to_dict() == {
        "people": 0,
        "photos": 0,
        "threshold": 0.9,
        "same": [],
        "doubtful": [],
    }
    for number, name in enumerate(("Ann", "Bob", "Cem"), 1):
        gallery.add(name, *photos(number, number))
    found = checked(gallery)
    assert (found.people, found.photos, found.same, found.doubtful) == (3, 6, (), ())


def test_two_names_of_one_person(gallery: Gallery, photos: Photos) -> None:
    first, second, third, fourth = photos(1, 4)
    gallery.add("Ann", first, second)
    gallery.add("Bob", *photos(2))
    gallery.add("Anna", third, fourth)
    (pair,) = checked(gallery).same
    assert (pair.names, pair.photos) == (("Ann", "Anna"), (2, 2))
    assert pair.similarity > 0.99
    assert checked(gallery).doubtful == ()
    assert checked(gallery, "Bob").same == ()
    assert checked(gallery, "ann").same == (pair,)
    with pytest.raises(PersonNotFound):
        checked(gallery, "Nobody")


def test_the_wrong_photo_is_found_and_not_those_it_resembles(
    gallery: Gallery, photos: Photos
) -> None:
    wrong, *rest = photos(1, 4)
    gallery.add("Bob", *photos(2, 3), wrong)
    gallery.add("Ann", *rest)
    found = checked(gallery)
    assert found.same == ()
    (photo,) = found.doubtful
    assert (photo.name, photo.path, photo.problem) == ("Bob", str(wrong), "other_person")
    assert photo.other == "Ann"
    assert (photo.other_similarity or 0) > 0.9 > (photo.similarity or 0)
    gallery.remove_photos("Bob", [photo.photo_id])
    assert checked(gallery).doubtful == ()


def test_a_photo_of_nobody_who_is_there(gallery: Gallery, photos: Photos) -> None:
    gallery.add("Ann", *photos(1, 3), *photos(7, 1))
    (photo,) = checked(gallery).doubtful
    assert (photo.problem, photo.path) == ("unlike", str(photos(7, 1)[0]))
    gallery.add("Bob", *photos(8, 1))
    assert checked(gallery, "Bob").doubtful == (), "a single photo has nothing to be unlike"


def test_an_uncertain_photo(tmp_path: Path, photos: Photos) -> None:
    class Blurred(PixelReader):
        def embed(self, crops: Image) -> tuple[Floats, Floats]:
            mu, logvar = super().embed(crops)
            return mu, np.full_like(logvar, 0.1)

    with Gallery(tmp_path / "people.db", reader=Blurred()) as gallery:
        (result,) = gallery.add("Ann", *photos(1, 1))
        assert result.sigma == pytest.approx(np.exp(0.05))
        (photo,) = checked(gallery).doubtful
        assert (photo.problem, photo.similarity) == ("uncertain", None)


def test_merging_keeps_photos_and_the_former_name(
    gallery: Gallery, reader: PixelReader, photos: Photos
) -> None:
    gallery.add("Ann", *photos(1, 1))
    gallery.add("Anna", *photos(1, 3)[1:])
    gallery.add("Bob", *photos(2))
    mu = mu_of(gallery, "Ann")
    before = {photo.path: photo.created_at for photo in gallery.photos("Anna")}
    gone = gallery.person("Anna").id
    with Gallery(gallery.path, reader=reader) as other:
        assert other.search(mu, 3).names[0][:2] in {("Ann", "Anna"), ("Anna", "Ann")}
        kept = gallery.merge("ann", "anna")
        assert (kept.name, kept.photos) == ("Ann", 3)
        assert [(one.id, one.name) for one in kept.merged] == [(gone, "Anna")]
        assert before.items() <= {p.path: p.created_at for p in gallery.photos("Ann")}.items()
        assert other.refresh()
        assert other.search(mu, 3).names == (("Ann", "Bob", None),)
        agrees(other)
    assert set(stored(gallery).templates.person_ids.tolist()) == {kept.id, 3}
    again = gallery.add("Anna", *photos(1, 3)[1:])
    assert {result.reason for result in again} == {"duplicate"}
    with pytest.raises(GalleryError, match="one person already"):
        gallery.merge("Ann", "ANN")
    gallery.merge("Bob", "Ann")
    assert [one.name for one in gallery.person("Bob").merged] == ["Ann", "Anna"]
    gallery.remove("Bob")
    assert b"Anna" not in gallery.path.read_bytes(), "also the former name is overwritten"


def test_removing_photos(gallery: Gallery, reader: PixelReader, photos: Photos) -> None:
    gallery.add("Ann", *photos(1, 3))
    gallery.add("Bob", *photos(2))
    first, second, third = gallery.photos("Ann")
    mu = stored(gallery).templates.mu[0]
    with Gallery(gallery.path, reader=reader) as other:
        assert other.templates() == 5
        assert gallery.remove_photos("ann", [first.id, 4]).photos == 2, "4 is a photo of Bob"
        assert other.refresh()
        assert other.templates() == 4
        agrees(other)
    assert mu.tobytes() not in gallery.path.read_bytes()
    with pytest.raises(GalleryError, match="no photo of 'Ann' would be left"):
        gallery.remove_photos("Ann", [second.id, third.id])
    assert gallery.add("Ann", *photos(1, 1))[0].accepted


def test_a_photo_by_path_name_or_number(
    gallery: Gallery, tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = paint(tmp_path / "other" / "1-0.png", shade=9)
    gallery.add("Ann", *photos(1), twin)
    listed = gallery.photos("Ann")
    monkeypatch.chdir(tmp_path / "photos")
    for wanted in ("1-1.png", str(photos(1)[1]), str(listed[1].id)):
        assert select_photo(listed, wanted, name="Ann") == listed[1]
    assert select_photo(listed, "1-0.png", name="Ann") == listed[0], "the one in this folder"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GalleryError, match=r"2 photos '1-0\.png'"):
        select_photo(listed, "1-0.png", name="Ann")
    with pytest.raises(GalleryError, match="no photo"):
        select_photo(listed, "x" * 10_000, name="Ann")


def test_groups() -> None:
    near = np.eye(6, dtype=np.bool_)
    for one, other in ((0, 2), (3, 4), (4, 5)):
        near[one, other] = near[other, one] = True
    assert groups_of(near).tolist() == [1, 2, 1, 0, 0, 0]
    assert groups_of(np.eye(2, dtype=np.bool_)).tolist() == [0, 1]
    assert groups_of(np.zeros((0, 0), np.bool_)).tolist() == []


def test_what_an_import_leaves_out_and_takes(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    for name in ("Ann", "train", "a\u202eb", "a\nb", "Ann\u3164", "-Bob"):
        paint(folder / name / "1.png")
    for name in ("Cem.jpg", "Dana.png", "notes.txt", "skipped.png"):
        paint(folder / name) if name != "notes.txt" else (folder / name).touch()
    plan = plan_import(folder, skip=["train", "skipped.png"], files=True)
    assert [name for name, _ in plan.people] == ["-Bob", "Ann", "Cem", "Dana"]
    assert len(plan.refused) == 3
    assert all(line.isprintable() for line in plan.refused)
    assert plan.notes == ["'notes.txt' is not a folder: left out"]
    (note, *_) = plan_import(folder, skip=["train"]).notes
    assert note == "'Cem.jpg' is not a folder: left out; with --files it is a person"
