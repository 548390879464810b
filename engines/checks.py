"""Checks shared by all engines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .base import Array, TensorSpec
from .errors import InferenceError, ModelError
from .options import ImageInput


def check_model_file(path: Path) -> None:
    """Raise ModelError if a model file is missing, not a file, or empty."""
    if not path.is_file():
        raise ModelError(f"no model file at {path}; reinstall facestream or give another path")
    if path.stat().st_size == 0:
        raise ModelError(f"the model file {path} is empty; reinstall facestream")


def image_spec(inputs: tuple[TensorSpec, ...], image: ImageInput | None) -> tuple[TensorSpec, ...]:
    """The inputs a caller sees: the network's own, or N×H×W×3 uint8 for ``image``.

    Raises:
        ModelError: the network does not have exactly one N×3×H×W input.
    """
    if image is None:
        return inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, None):
        raise ModelError(
            "image_input needs a network with one N×3×H×W input, not "
            + ", ".join(f"{spec.name} {shape_text(spec.shape)}" for spec in inputs)
        )
    spec = inputs[0]
    n, _, height, width = spec.shape
    return (TensorSpec(spec.name, (n, height, width, 3), np.dtype(np.uint8)),)


def check_feeds(inputs: tuple[TensorSpec, ...], feeds: Mapping[str, Array]) -> None:
    """Raise InferenceError unless exactly the inputs are fed, each with its dtype and shape."""
    for spec in inputs:
        array: Any = feeds.get(spec.name)
        if array is None:
            got = ", ".join(feeds) or "nothing"
            raise InferenceError(f"input '{spec.name}' is not fed; got {got}")
        if not isinstance(array, np.ndarray):
            raise InferenceError(
                f"input '{spec.name}' must be a numpy array, not {type(array).__name__}"
            )
        if array.dtype != spec.dtype:
            raise InferenceError(f"input '{spec.name}' must be {spec.dtype}, not {array.dtype}")
        fits = array.ndim == len(spec.shape) and all(
            want is None or want == have for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or array.size == 0:
            raise InferenceError(
                f"input '{spec.name}' must be {shape_text(spec.shape)} and not empty, "
                f"not {shape_text(array.shape)}"
            )
    unknown = set(feeds) - {spec.name for spec in inputs}
    if unknown:
        names = ", ".join(spec.name for spec in inputs)
        raise InferenceError(f"no input '{sorted(unknown)[0]}'; the network has {names}")


def shape_text(shape: tuple[int | None, ...]) -> str:
    """``N×3×112×112``."""
    return "×".join("N" if n is None else str(n) for n in shape)
