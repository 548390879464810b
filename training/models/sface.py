"""SFace's weights as the start: the encoder rebuilt from the initialisers of its ONNX file.

SFace (Zhong et al. 2021; OpenCV Zoo, Apache-2.0) is a plain MobileNetV1. The rebuilt network
agrees with the original graph to about 1e-5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from ..errors import TrainingError
from .backbones import Mobile
from .vae import VaeEncoder

Arrays = dict[str, NDArray[np.float32]]


def _set(target: object, value: NDArray[np.float32], name: str) -> None:
    if not isinstance(target, torch.Tensor):
        raise TrainingError(f"the network has no tensor for SFace's '{name}'")
    source = torch.from_numpy(np.array(value, np.float32, order="C"))
    if source.numel() != target.numel():
        raise TrainingError(
            f"SFace's '{name}' has shape {tuple(source.shape)}, wanted {tuple(target.shape)}; "
            "use face_recognition_sface_2021dec.onnx of OpenCV Zoo"
        )
    with torch.no_grad():
        target.copy_(source.reshape(target.shape))


def _load_norm(norm: nn.Module, arrays: Arrays, prefix: str) -> None:
    for ours, theirs in (
        ("weight", "gamma"),
        ("bias", "beta"),
        ("running_mean", "moving_mean"),
        ("running_var", "moving_var"),
    ):
        _set(getattr(norm, ours), arrays[f"{prefix}_{theirs}"], f"{prefix}_{theirs}")


def _load_unit(unit: nn.Module, arrays: Arrays, prefix: str) -> None:
    """A (convolution, batch norm, PReLU) unit."""
    conv, norm, act = unit.children()
    _set(conv.weight, arrays[f"{prefix}_conv2d_weight"], prefix)
    _load_norm(norm, arrays, f"{prefix}_batchnorm")
    _set(act.weight, arrays[f"{prefix}_relu_gamma"], prefix)


def load_sface(encoder: VaeEncoder, path: Path) -> None:
    """Overwrite the trunk and the mu head with SFace's weights.

    Args:
        encoder: an encoder with the ``mobile`` trunk and 128 dimensions.
        path: ``face_recognition_sface_2021dec.onnx``.

    Raises:
        TrainingError: another trunk, or a file that is not SFace.
    """
    if not isinstance(encoder.backbone, Mobile):
        raise TrainingError("SFace's weights fit the 'mobile' backbone only")
    if not path.is_file():
        raise TrainingError(f"the teacher's file {path} is missing; give its path with --teacher")
    graph = onnx.load(path).graph
    arrays: Arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    try:
        _load_unit(encoder.backbone.stem, arrays, "conv_1")
        for i, block in enumerate(encoder.backbone.blocks, start=2):
            depthwise, pointwise = block.children()
            _load_unit(depthwise, arrays, f"conv_{i}_dw")
            _load_unit(pointwise, arrays, f"conv_{i}")
        head = encoder.mu_head
        _load_norm(head.norm_in, arrays, "bn1")
        _set(head.dense.weight, arrays["pre_fc1_weight"], "pre_fc1_weight")
        _set(head.dense.bias, arrays["pre_fc1_bias"], "pre_fc1_bias")
        _load_norm(head.norm_out, arrays, "fc1")
    except KeyError as error:
        raise TrainingError(f"{path} is not SFace: it has no tensor {error}") from error
