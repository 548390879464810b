"""The encoder's promises, on the network that ships."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.cards import MODELS
from facestream.engines.errors import ModelError
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.registry import load_engine
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    with Encoder() as encoder:
        yield encoder


@pytest.fixture(scope="module")
def face() -> Image:
    data = pytest.importorskip("skimage.data")
    image = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    with Mtcnn(serving=Serving(threads=1)) as detector:
        return align_faces(image, detector.detect(image).landmarks)


def test_shapes_and_identity_of_the_model(encoder: Encoder, face: Image) -> None:
    mu, logvar = encoder.embed(face)
    assert mu.shape == logvar.shape == (1, encoder.dim)
    assert mu.dtype == logvar.dtype == np.float32
    assert np.isfinite(mu).all()
    assert np.isfinite(logvar).all()
    assert encoder.model_id == encoder.card.id


def test_no_faces(encoder: Encoder) -> None:
    mu, logvar = encoder.embed(np.zeros((0, 112, 112, 3), np.uint8))
    assert mu.shape == logvar.shape == (0, encoder.dim)


def test_a_face_has_the_same_embedding_in_every_batch(encoder: Encoder, face: Image) -> None:
    rng = np.random.default_rng(0)
    alone = normalise(encoder.embed(face)[0])[0]
    for count in (1, 2, 3, 7, 33, 40):
        crops = rng.integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
        crops[-1] = face[0]
        assert normalise(encoder.embed(crops)[0])[-1] @ alone > 0.999


def test_the_input_is_bgr(encoder: Encoder, face: Image) -> None:
    """The engine's input against the graph's own: float32, RGB, channels first."""
    rgb = face[:, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    path = MODELS / encoder.card.file
    with load_engine(path, options=EngineOptions(precision="float32")) as engine:
        expected = engine.infer({"faces": np.ascontiguousarray(rgb)})["mu"]
    right = normalise(encoder.embed(face)[0])[0] @ normalise(expected)[0]
    assert right > 0.999


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((1, 96, 112, 3), np.uint8),
        np.zeros((1, 112, 112, 3), np.float32),
    ],
)
def test_other_shapes_are_refused(encoder: Encoder, crops: Any) -> None:
    with pytest.raises(ValueError, match="crops must be"):
        encoder.embed(crops)


def test_bad_options_and_models(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_batch"):
        Encoder(max_batch=0)
    with pytest.raises(ModelError, match="not an encoder"):
        Encoder(model="mtcnn_onet")
    with pytest.raises(ModelError, match="no model card"):
        Encoder(model="nobody")
    card = shutil.copy(MODELS / "vae_encoder.json", tmp_path)
    with pytest.raises(ModelError, match="no model file"):
        Encoder(model=Path(card))
    (tmp_path / "vae_encoder.onnx").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged or was replaced"):
        Encoder(model=Path(card))
