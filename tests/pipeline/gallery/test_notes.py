"""Photos are set aside and restored, and hold from and until a date; everyone follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.gallery import Gallery, PhotoNotes
from PIL import ExifTags
from PIL import Image as Pillow

from tests.pixels import PixelReader, paint

from .conftest import stored
from .test_changes import agrees, mu_of

Photos = Callable[..., list[Path]]
DAY = 86400.0


def day(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def test_set_aside_and_restored(gallery: Gallery, reader: PixelReader, photos: Photos) -> None:
    gallery.add("Ann", *photos(1))
    gallery.add("Bob", *photos(2))
    first, second = (photo.id for photo in gallery.photos("Ann"))
    mu = mu_of(gallery, "Ann")
    with Gallery(gallery.path, reader=reader) as other:
        assert other.search(mu, 1).names == (("Ann",),)
        assert gallery.set_aside([second, first], reason="blurred") == [first, second]
        assert gallery.set_aside([first, 99]) == []
        for one in (gallery, other):
            one.refresh()
            assert one.search(mu, 2).names == (("Bob", None),)
            assert one.templates() == 2
            agrees(one)
        notes = gallery.photos("Ann")[0].notes
        assert (notes.aside_reason, notes.to_dict()["set_aside"]["reason"]) == ("blurred",) * 2
        assert gallery.person("Ann").aside == 2
        assert gallery.crop(first).shape == (112, 112, 3)
        assert gallery.re_embed() == 0
        assert gallery.restore_photos([first]) == [first]
        gallery.add("Cem", *photos(3))
        other.refresh()
        assert other.search(mu, 2).names[0][0] == "Ann"
        agrees(other)
    assert gallery.add("Ann", *photos(1))[1].reason == "duplicate"
    gallery.remove("Ann")
    assert b"blurred" not in gallery.path.read_bytes()
    gallery.add("Dee", *photos(4))
    assert not any(photo.notes.aside_at for photo in gallery.photos("Dee"))


def test_an_export_keeps_what_is_noted(gallery: Gallery, tmp_path: Path, photos: Photos) -> None:
    gallery.add("Ann", *photos(1, 3), dates=PhotoNotes(valid_from=day(2020)))
    first = gallery.photos("Ann")[0].id
    gallery.set_aside([first], reason="eyes closed")
    gallery.export(tmp_path / "export")
    with Gallery(tmp_path / "copy.db", reader=PixelReader()) as copy:
        done = [one for _, one in copy.iter_restore(tmp_path / "export", trust="embeddings")]
        assert all(one.accepted for one in done)
        before, after = ([one.notes for one in of.photos("Ann")] for of in (gallery, copy))
        assert before == after
        assert copy.templates() == 2


def test_photos_that_hold_for_some_time(
    gallery: Gallery, reader: PixelReader, photos: Photos
) -> None:
    young, old = photos(1)
    gallery.add("Ann", young, dates=PhotoNotes(valid_until=day(2020)))
    gallery.add("Bob", *photos(2))
    mu = mu_of(gallery, "Ann")
    times = [day(2019).timestamp(), day(2020).timestamp(), float("nan")]
    with Gallery(gallery.path, reader=reader) as other:
        found = other.search(np.repeat(mu, 3, axis=0), 2, at=times).names
        assert [row[0] for row in found] == ["Ann", "Bob", "Bob"]
        gallery.add("Ann", old, dates=PhotoNotes(valid_from=day(2020)))
        other.refresh()
        found = other.search(np.repeat(mu, 3, axis=0), 2, at=times).names
        assert {row[0] for row in found} == {"Ann"}
        first, second = gallery.photos("Ann")
        gallery.date_photo(second.id, PhotoNotes(valid_from=day(2100), taken_at=day(2021)))
        other.refresh()
        assert other.search(mu, 1).names == (("Bob",),)
    with pytest.raises(GalleryError, match="the end must be later"):
        gallery.date_photo(first.id, PhotoNotes(valid_from=day(2020), valid_until=day(2020)))
    with pytest.raises(GalleryError, match="no photo 77"):
        gallery.date_photo(77, PhotoNotes())


def test_when_a_photo_was_taken(gallery: Gallery, tmp_path: Path) -> None:
    for name, text in (("a", "2012:03:04 05:06:07"), ("b", "1970:01:01 00:00:00")):
        made = paint(tmp_path / f"{name}.png")
        exif = Pillow.Exif()
        exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: text}
        with Pillow.open(made) as picture:
            picture.save(made, exif=exif)
    gallery.add("Ann", tmp_path / "a.png", tmp_path / "b.png")
    first, second = (photo.notes.taken_at for photo in gallery.photos("Ann"))
    assert first is not None
    assert first.astimezone().isoformat().startswith("2012-03-04T05:06:07")
    assert second is None
    gallery.add("Bob", paint(tmp_path / "c.png", person=2), dates=PhotoNotes(taken_at=day(1990)))
    assert gallery.photos("Bob")[0].notes.taken_at == day(1990)


def test_photos_by_number_path_or_name(gallery: Gallery, tmp_path: Path, photos: Photos) -> None:
    gallery.add("Ann", *photos(1), paint(tmp_path / "other" / "1-0.png", shade=9))
    first, second, third = (photo.id for photo in gallery.photos("Ann"))
    assert gallery.photo_id(str(second)) == second
    assert gallery.photo_id("1-1.png") == second
    assert gallery.photo_id(str(tmp_path / "other" / "1-0.png")) == third
    for wrong in ("1-0.png", "99", "%.png", "9" * 40, ""):
        with pytest.raises(GalleryError, match="the gallery has"):
            gallery.photo_id(wrong)
    assert first


def test_templates_of_a_person(gallery: Gallery, photos: Photos) -> None:
    gallery.add("Bob", *photos(2))
    gallery.add("Ann", *photos(1, 3))
    everything = stored(gallery).templates
    assert np.array_equal(gallery.templates_of("ann"), everything.mu[2:])
    gallery.set_aside([gallery.photos("Ann")[0].id])
    assert len(gallery.templates_of("Ann")) == 2
    assert gallery.templates_of("Nobody").shape == (0, everything.mu.shape[1])


def test_findings(gallery: Gallery, photos: Photos, tmp_path: Path) -> None:
    from facestream.pipeline.identity.decision import Thresholds

    gallery.add("Ann", *photos(1, 3))
    noise = np.random.default_rng(4).integers(0, 255, (120, 120, 3)).astype(np.uint8)
    noise[0, 0] = 1, 60, 2
    for name, change in (("a", 0), ("b", 1)):
        copied = noise.copy()
        copied[100, 100] = change
        cv2.imwrite(str(tmp_path / f"{name}.png"), copied)
    gallery.add("Bob", tmp_path / "a.png", tmp_path / "b.png")
    gallery.add("Cem", *photos(3, 1))
    found = gallery.check(thresholds=Thresholds(similarity=0.9)).findings
    kinds = [(one.kind, one.person, one.problem) for one in found]
    assert ("few_photos", "Cem", False) in kinds
    assert ("similar_photos", "Ann", False) in kinds
    (twin,) = [one for one in found if one.kind == "duplicate" and one.person == "Bob"]
    assert (twin.other, twin.mending) == ("Bob", "set-aside")
    assert twin.path == str(tmp_path / "b.png")
    gallery.add("Dee", *photos(1, 4)[3:])
    gallery.set_aside([gallery.photos("Cem")[0].id])
    found = gallery.check(thresholds=Thresholds(similarity=0.9)).findings
    pair = found[0]
    assert (pair.kind, pair.same_person, pair.person, pair.other) == (
        "look_alike", True, "Dee", "Ann",
    )  # fmt: skip
    (few,) = [one for one in found if one.person == "Cem"]
    assert (few.photos, few.photo_id) == (0, None)
