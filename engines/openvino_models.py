"""Reads networks for OpenVINO, and what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .base import TensorSpec
from .errors import BackendUnavailable
from .options import ImageInput
from .quantised import quantised_file


def read_onnx(ov: Any, path: Path) -> Any:
    """The network of an ONNX file."""
    # Core.read_model would try every format on a damaged file, and TensorFlow's parser writes to
    # standard error.
    frontend = ov.frontend.FrontEndManager().load_by_framework("onnx")
    return frontend.convert(frontend.load(str(path)))


def read_int8(core: Any, path: Path) -> Any:
    """The int8 version that is kept beside an ONNX file.

    Raises:
        BackendUnavailable: there is none.
    """
    file = quantised_file(path)
    if not file.is_file():
        raise BackendUnavailable(
            f"there is no int8 version of {path.name} ({file.name} beside it); "
            "make one with 'facestream-train quantise', or use bfloat16 or float32"
        )
    return core.read_model(file)


def read_errors(ov: Any) -> tuple[type[Exception], ...]:
    """The frontend's errors share no base but Exception."""
    frontend = ov.frontend
    return (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )


def spec_of(port: Any) -> TensorSpec:
    """Of an input or output."""
    shape = tuple(
        None if dimension.is_dynamic else dimension.get_length()
        for dimension in port.get_partial_shape()
    )
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))


def with_image_input(ov: Any, model: Any, image: ImageInput) -> Any:
    """The network with its only input replaced; see ``ImageInput``."""
    prepost = ov.preprocess.PrePostProcessor(model)
    port = prepost.input()
    port.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    port.model().set_layout(ov.Layout("NCHW"))
    steps = port.preprocess().convert_element_type(ov.Type.f32)
    if image.channels != image.network_channels:
        steps = steps.reverse_channels()
    if image.mean != 0:
        steps = steps.mean(image.mean)
    if image.scale != 1:
        steps.scale(image.scale)
    return prepost.build()


def last_line(error: BaseException) -> str:
    """OpenVINO's messages are pages of C++ file names; the last line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
