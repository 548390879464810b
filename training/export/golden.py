"""Golden embeddings: what the shipped encoder gave for inputs that every checkout can make."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.base import Precision
from facestream.engines.cards import read_card, verify
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.registry import load_engine
from facestream.pipeline.core.arrays import read_arrays
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces

from ..data.cache import write_arrays
from ..errors import DataError

SIZE: Final = 112


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Inputs and the outputs they had.

    Attributes:
        model_id: of the encoder.
        landmarks: 5×2 of the astronaut's face, as our cascade found them.
        mu: N×D in float32: ``patterns``, then the astronaut.
        logvar: N×D.
    """

    model_id: str
    landmarks: Floats
    mu: Floats
    logvar: Floats


def patterns() -> Image:
    """Inputs that need no picture: 4×112×112×3 BGR uint8, the same everywhere."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = [
        128 + 120 * np.sin(2 * np.pi * ((1 + n) * x + (1 + channel) * y) + n)
        for n in range(3)
        for channel in range(3)
    ]
    smooth = np.stack(waves).reshape(3, 3, SIZE, SIZE).transpose(0, 2, 3, 1).round()
    coarse = np.arange(7 * 7 * 3, dtype=np.int64).reshape(7, 7, 3) * 97 % 256
    blocks = np.kron(coarse, np.ones((16, 16, 1), np.int64))
    return np.concatenate([smooth, blocks[None]]).astype(np.uint8)


def astronaut() -> Image:
    """Scikit-image's public-domain portrait (NASA), BGR.

    Raises:
        DataError: scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataError("the golden embeddings need scikit-image: pip install 'facestream[train]'")
    return read_image(Path(spec.origin).parent / "data" / "astronaut.png")


def find_landmarks(image: Image) -> Floats:
    """5×2 of the portrait's face, by our cascade in its exact mode.

    Raises:
        DataError: it does not find exactly one.
    """
    with Mtcnn(mode="exact", serving=Serving(threads=1)) as detector:
        faces = detector.detect(image)
    if len(faces) != 1:
        raise DataError(f"the detector found {len(faces)} faces in the portrait, not one")
    landmarks: Floats = faces.landmarks[0]
    return landmarks


def inputs(landmarks: Floats) -> Image:
    """N×112×112×3 BGR: the patterns and the astronaut cut by these landmarks."""
    face = align_faces(astronaut(), landmarks[None])
    # Interpolation may differ by a grey level between builds of OpenCV; smoothing hides nothing.
    return np.concatenate([patterns(), np.asarray(cv2.GaussianBlur(face[0], (3, 3), 0))[None]])


def embed(model: Path, crops: Image, *, precision: Precision) -> tuple[Floats, Floats]:
    """mu and logvar by the network of a card, in that arithmetic.

    Raises:
        ModelError: the network is missing or damaged.
    """
    card = read_card(model)
    faces = np.ascontiguousarray(crops[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    with load_engine(
        verify(card, model.parent), options=EngineOptions(precision=precision)
    ) as engine:
        out = engine.infer({card.inputs[0].name: faces})
    return out["mu"], out["logvar"]


def make_golden(model: Path) -> Golden:
    """The golden embeddings of a card's encoder, in float32."""
    landmarks = find_landmarks(astronaut())
    mu, logvar = embed(model, inputs(landmarks), precision="float32")
    return Golden(read_card(model).id, landmarks, mu, logvar)


def write_golden(golden: Golden, path: Path) -> None:
    """As npz, a few kB."""
    write_arrays(path, {field.name: getattr(golden, field.name) for field in fields(golden)})


def read_golden(path: Path) -> Golden:
    """From npz.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        saved = read_arrays(path)
        return Golden(str(saved["model_id"]), saved["landmarks"], saved["mu"], saved["logvar"])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"cannot read the golden embeddings {path} ({error}); make them with "
            "'facestream-train golden'"
        ) from error
