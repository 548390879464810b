"""TensorRT-RTX, which builds without a GPU; and faces to compare networks on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import model_path
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import EngineOptions, ImageInput, ShapeRange
from facestream.engines.tensorrt.flavour import Flavour, find_flavour
from facestream.engines.tensorrt.recipe import Recipe, recipe_for
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT-RTX; skips without it, or fails where REQUIRE_GPU=1."""
    try:
        return find_flavour("tensorrt_rtx")
    except BackendUnavailable as error:
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail(f"REQUIRE_GPU=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rnet() -> Path:
    """A network that is built in a quarter of a second."""
    return model_path("mtcnn_rnet")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Of ``rnet``, made without TensorRT."""
    shapes = ShapeRange((1, 3, 24, 24), (8, 3, 24, 24), (64, 3, 24, 24), (1, 8, 64))
    return Recipe("float16", shapes, "sm86", "tensorrt_rtx", "1.2.3", image_input=ImageInput())


@pytest.fixture(scope="session")
def real_recipe(rtx: Flavour, rnet: Path) -> Recipe:
    """Of ``rnet``, for the TensorRT-RTX that is here."""
    shapes = ShapeRange((1, 3, 24, 24), (8, 3, 24, 24), (64, 3, 24, 24), (1, 8, 64))
    options = EngineOptions(precision="float16", shapes=shapes)
    return recipe_for(rnet, options, flavour=rtx, target="sm86")


@pytest.fixture(scope="session")
def faces(shared_data: Path) -> Image:
    """Aligned faces N×112×112×3 BGR of real people."""
    pictures = sorted((shared_data / "stills").rglob("*.jpg"))
    with Mtcnn() as detector:
        crops = [
            align_faces(image, detector.detect(image).landmarks)
            for image in map(read_image, pictures)
        ]
    return np.concatenate(crops)
