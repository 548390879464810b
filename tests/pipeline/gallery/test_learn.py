"""Faces of sightings are learned, and photos are doubted, on real faces: look-alikes included."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.analysis import FaceAnalyzer
from facestream.pipeline.core.errors import ModelMismatch
from facestream.pipeline.core.images import decode_image
from facestream.pipeline.core.types import Image
from facestream.pipeline.gallery import FaceOrigin, Gallery, LearningRules, PhotoResult
from facestream.pipeline.gallery.learn import learned_photos
from facestream.pipeline.gallery.records import Embedded, Face
from facestream.pipeline.recognition.align import align_faces

from tests.pixels import PixelReader

# Of LFW's faces, 250×250, on average.
LANDMARKS = np.array([[104, 114], [148, 113], [126, 140], [108, 162], [146, 162]], np.float32)
SEEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def reader() -> Iterator[FaceAnalyzer]:
    with FaceAnalyzer() as analyzer:
        yield analyzer


@pytest.fixture
def people(tmp_path: Path, reader: FaceAnalyzer) -> Iterator[Gallery]:
    with Gallery(tmp_path / "people.db", reader=reader) as gallery:
        yield gallery


@pytest.fixture(scope="module")
def lfw(shared_data: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(shared_data / "lfw" / "lfw_grey.zip") as archive:
        yield archive


def picture(lfw: zipfile.ZipFile, name: str, number: int) -> Image:
    return decode_image(lfw.read(f"{name}/{name}_{number:04d}.jpg"))


def crop(lfw: zipfile.ZipFile, name: str, number: int) -> Image:
    found: Image = align_faces(picture(lfw, name, number), LANDMARKS[None])[0]
    return found


def learn(
    people: Gallery, name: str, *crops: Image, rules: LearningRules | None = None
) -> list[PhotoResult]:
    origins = [FaceOrigin(f"{hash(one.tobytes()) % 10**9:032d}", "door", SEEN) for one in crops]
    return people.learn(name, np.stack(crops), origins, rules=rules or LearningRules())


def enrol(people: Gallery, lfw: zipfile.ZipFile, name: str, *numbers: int) -> list[PhotoResult]:
    return people.add(name.replace("_", " "), *(picture(lfw, name, n) for n in numbers))


def test_a_sure_face_is_learned_once(people: Gallery, lfw: zipfile.ZipFile) -> None:
    enrol(people, lfw, "John_Edwards", 2, 3)
    mine, other = (crop(lfw, "John_Edwards", n) for n in (1, 4))
    (first,) = learn(people, "John Edwards", mine)
    assert first.accepted
    (photo,) = [one for one in people.photos("John Edwards") if one.notes.origin]
    assert photo.id == first.photo_id
    assert photo.notes.to_dict()["learned_from"]["source"] == "door"
    assert photo.notes.taken_at == SEEN
    assert learn(people, "John Edwards", mine)[0].reason == "redundant"
    rules = LearningRules(most=1)
    assert learn(people, "John Edwards", other, rules=rules)[0].reason == "enough"
    people.remove_photos("John Edwards", learned_photos(people, "John Edwards"))
    assert people.person("John Edwards").photos == 2


# The pairs of different people that resemble each other most, among 1,806 pictures.
ALIKE = (
    ("Antony_Leung", 2, "Tim_Allen", 4),
    ("Hitomi_Soga", 5, "Sachiko_Yamada", 2),
    ("Lino_Oviedo", 2, "Kevin_Spacey", 3),
    ("Heidi_Klum", 2, "Gwyneth_Paltrow", 5),
)


def test_a_look_alike_is_never_learned(
    people: Gallery, reader: FaceAnalyzer, lfw: zipfile.ZipFile
) -> None:
    for name, number, _, _ in ALIKE:
        face = crop(lfw, name, number)
        mu, logvar = reader.embed(face[None])
        known = Face(
            path=name, sha256=name, width=112, height=112, box=np.zeros(4, np.float32),
            landmarks=LANDMARKS, score=1.0, crop=face,
        )  # fmt: skip
        people.add_face(name.replace("_", " "), known, Embedded(reader.model_id, mu[0], logvar[0]))
    for name, _, other, number in ALIKE:
        (result,) = learn(people, name.replace("_", " "), crop(lfw, other, number))
        assert result.reason in ("not_similar", "resembles"), (name, other)
    assert people.templates() == len(ALIKE)


def test_unclear_faces_and_strangers(people: Gallery, lfw: zipfile.ZipFile) -> None:
    enrol(people, lfw, "John_Edwards", 2)
    blank = np.full((112, 112, 3), 90, np.uint8)
    mine = crop(lfw, "John_Edwards", 1)
    done = learn(people, "John Edwards", blank, crop(lfw, "Tim_Allen", 4))
    assert [one.reason for one in done] == ["uncertain", "not_similar"]
    origin = [FaceOrigin("0" * 32, "door")]
    (result,) = people.learn("John Edwards", mine[None], origin, sigmas=[1.4])
    assert result.reason == "uncertain"
    assert people.learn("John Edwards", mine[:0].reshape(0, 112, 112, 3), []) == []


def test_a_new_name_gets_the_faces_that_belong_together(
    people: Gallery, lfw: zipfile.ZipFile
) -> None:
    enrol(people, lfw, "Tim_Allen", 4)
    mine = [crop(lfw, "John_Edwards", n) for n in (1, 2, 3)]
    done = learn(people, "Guest", *mine, crop(lfw, "Heidi_Klum", 2), crop(lfw, "Tim_Allen", 2))
    assert all(one.accepted for one in done[:3])
    assert [one.reason for one in done[3:]] == ["not_similar", "resembles"]


def test_learned_faces_do_not_vouch(people: Gallery, lfw: zipfile.ZipFile) -> None:
    """A chain of faces, each like the one before, leads nowhere."""
    enrol(people, lfw, "John_Edwards", 2)
    assert learn(people, "John Edwards", crop(lfw, "John_Edwards", 1))[0].accepted
    with_learned = people.templates_of("John Edwards")
    assert len(people.templates_of("John Edwards", learned=False)) == len(with_learned) - 1


def test_photos_that_do_not_fit(people: Gallery, lfw: zipfile.ZipFile) -> None:
    enrol(people, lfw, "John_Edwards", 2, 3)
    (twin,) = people.add("Jack", picture(lfw, "John_Edwards", 1))
    assert twin.accepted
    assert twin.doubt is not None
    assert (twin.doubt.kind, twin.doubt.other) == ("resembles", "John Edwards")
    assert "same person? 'facestream gallery merge'" in twin.warnings[-1]
    (odd,) = people.add("John Edwards", picture(lfw, "Tim_Allen", 4))
    assert odd.doubt is not None
    assert odd.doubt.kind == "outlier"
    (refused,) = people.add("Jack", picture(lfw, "Heidi_Klum", 2), strict=True)
    assert (refused.accepted, refused.reason) == (False, "outlier")
    assert people.person("Jack").photos == 1


def test_another_model_is_not_judged(tmp_path: Path) -> None:
    with Gallery(tmp_path / "x.db", reader=PixelReader()) as gallery:
        assert gallery.enrolment_rules().guard is None
        with pytest.raises(ModelMismatch):
            gallery.learn("Ann", np.zeros((1, 112, 112, 3), np.uint8), [FaceOrigin("a", "b")])
