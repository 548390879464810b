"""Enrolment with the real detector and encoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.engines.cards import load_card
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.gallery import Gallery, VisionReader
from facestream.pipeline.identity.decision import Thresholds, decide_frame
from facestream.pipeline.recognition.encoder import Encoder

from .conftest import stored


@pytest.fixture(scope="module")
def reader() -> VisionReader:
    return VisionReader()


@pytest.fixture
def gallery(tmp_path: Path, reader: VisionReader) -> Iterator[Gallery]:
    with Gallery(tmp_path / "people.db", reader=reader) as opened:
        yield opened


@pytest.fixture(scope="module")
def astronaut() -> Image:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


def test_a_portrait_is_enrolled_and_found(
    gallery: Gallery, reader: VisionReader, astronaut: Image, tmp_path: Path
) -> None:
    photo = tmp_path / "astronaut.png"
    cv2.imwrite(str(photo), astronaut)
    assert gallery.add("Eileen Collins", photo)[0].accepted
    assert gallery.model_id == load_card("vae_encoder").id
    kept = gallery.photos("Eileen Collins")[0]
    assert kept.score > 0.99
    assert 60 < kept.box[2] - kept.box[0] < 200
    other = cv2.convertScaleAbs(cv2.flip(astronaut, 1), alpha=0.8, beta=10)
    faces = reader.detect(np.asarray(other, np.uint8))
    mu, _ = reader.embed(reader.align(np.asarray(other, np.uint8), faces.landmarks))
    found = gallery.search(mu, 1)
    assert found.names[0] == ("Eileen Collins",)
    assert found.similarities[0, 0] > 0.7


def test_refusals(gallery: Gallery, astronaut: Image, tmp_path: Path) -> None:
    def saved(name: str, image: Image) -> Path:
        cv2.imwrite(str(tmp_path / name), image)
        return tmp_path / name

    small = cv2.resize(astronaut, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    results = gallery.add(
        "Eileen",
        saved("twice.png", np.hstack([astronaut, astronaut])),
        saved("small.png", np.asarray(small, np.uint8)),
        saved("shoulder.png", np.ascontiguousarray(astronaut[300:, :200])),
        saved("black.png", np.zeros((300, 300, 3), np.uint8)),
        saved("dot.png", np.zeros((1, 1, 3), np.uint8)),
    )
    assert [result.reason for result in results] == [
        "several_faces",
        "too_small",
        "no_face",
        "no_face",
        "no_face",
    ]
    assert gallery.people() == []


def test_a_face_in_the_background_does_not_spoil_a_portrait(
    gallery: Gallery, astronaut: Image
) -> None:
    scene = cv2.resize(astronaut, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    tiny = cv2.resize(astronaut, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    scene[: tiny.shape[0], -tiny.shape[1] :] = tiny
    assert gallery.add("Eileen", np.asarray(scene, np.uint8))[0].accepted


def test_a_very_large_photo(gallery: Gallery, astronaut: Image) -> None:
    large = cv2.resize(astronaut, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
    assert gallery.add("Eileen", np.asarray(large, np.uint8), astronaut)[0].accepted
    big, normal = gallery.photos("Eileen")
    assert big.box / 8 == pytest.approx(normal.box, abs=6)
    snapshot = stored(gallery)
    unit = snapshot.templates.mu / np.linalg.norm(snapshot.templates.mu, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.9


def test_re_embedding_gives_the_same(
    gallery: Gallery, reader: VisionReader, astronaut: Image
) -> None:
    gallery.add("Eileen", astronaut)
    kept = stored(gallery)
    crop = gallery.crop(gallery.photos("Eileen")[0])
    mu, _ = reader.embed(crop[None])
    old = kept.templates.mu[0]
    assert mu[0] @ old / np.linalg.norm(mu[0]) / np.linalg.norm(old) > 0.999


def test_a_gallery_frees_the_networks_that_it_loaded(
    reader: VisionReader, astronaut: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[type] = []
    for kind in (Encoder, Mtcnn):
        close = kind.close

        def counted(network: Encoder | Mtcnn, close: Any = close) -> None:
            freed.append(type(network))
            close(network)

        monkeypatch.setattr(kind, "close", counted)
    with Gallery(tmp_path / "one.db") as gallery:
        assert gallery.add("Eileen", astronaut)[0].accepted
        assert freed == []
    assert sorted(kind.__name__ for kind in freed) == ["Encoder", "Mtcnn"]
    freed.clear()
    with Gallery(tmp_path / "two.db", reader=reader) as gallery:
        assert gallery.add("Eileen", astronaut)[0].accepted
    assert freed == []  # the caller's
    Gallery(tmp_path / "three.db").close()
    assert freed == []  # nothing was loaded


class TestStills:
    """The pictures of shared/data."""

    def test_each_person_is_told_from_the_others(self, gallery: Gallery, shared_data: Path) -> None:
        report = gallery.import_folder(shared_data / "stills")
        results = [(name, result.accepted, result.reason) for name, result in report.results]
        several = [entry for entry in results if entry[0] == "_several_people"]
        assert len(several) == 4
        assert all(reason == "several_faces" for _, _, reason in several)
        assert all(accepted for name, accepted, _ in results if name != "_several_people")
        people = {person.name: person.photos for person in gallery.people()}
        assert people == {"harington": 2, "lacamoire": 1, "leslie": 2, "miranda": 1, "obama": 2}

    def test_a_second_picture_is_named(
        self, gallery: Gallery, reader: VisionReader, shared_data: Path
    ) -> None:
        stills = shared_data / "stills"
        card = load_card("vae_encoder")
        thresholds = Thresholds.from_card(card, similarity=None if card.thresholds else 0.4)
        gallery.add("Obama", stills / "obama" / "obama.jpg")
        gallery.add("Leslie", stills / "leslie" / "img1.jpg")
        gallery.add("Harington", stills / "harington" / "john1.jpeg")
        for name, path in {
            "Obama": "obama/obama2.jpg",
            "Leslie": "leslie/img2.jpg",
            "Harington": "harington/john2.jpeg",
            None: "lacamoire/alex-lacamoire.png",
        }.items():
            image = read_image(stills / path)
            faces = reader.detect(image)
            best = int(np.argmax(faces.boxes[:, 2] - faces.boxes[:, 0]))
            mu, _ = reader.embed(reader.align(image, faces.landmarks[[best]]))
            assert decide_frame(gallery.search(mu, 3), thresholds)[0].name == name
