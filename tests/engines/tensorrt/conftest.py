"""TensorRT-RTX, which builds without a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from facestream.engines.cards import model_path
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import EngineOptions, ImageInput, ShapeRange
from facestream.engines.tensorrt.recipe import Recipe, recipe_for
from facestream.engines.tensorrt.variant import Variant, find_variant


@pytest.fixture(scope="session")
def rtx() -> Variant:
    """TensorRT-RTX; skips without it, or fails where REQUIRE_GPU=1."""
    try:
        return find_variant("tensorrt_rtx")
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
def real_recipe(rtx: Variant, rnet: Path) -> Recipe:
    """Of ``rnet``, for the TensorRT-RTX that is here."""
    shapes = ShapeRange((1, 3, 24, 24), (8, 3, 24, 24), (64, 3, 24, 24), (1, 8, 64))
    options = EngineOptions(precision="float16", shapes=shapes)
    return recipe_for(rnet, options, variant=rtx, target="sm86")
