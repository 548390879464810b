"""ONNX operators that move values about: resizing, cutting, rearranging. See ``torch_ops``.

Imported by ``torch_ops.py`` alone.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ModelError


class _Node(Protocol):
    @property
    def outputs(self) -> tuple[str, ...]: ...

    def get(self, name: str, default: Any) -> Any: ...


def resize(node: _Node, inputs: Any) -> Tensor:
    """Pictures by whole or broken factors, as exporters write torch's ``interpolate``."""
    x: Tensor = inputs[0]
    scales = inputs[2].tolist() if len(inputs) > 2 and inputs[2] is not None else []
    how = (node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel"))
    modes = {("nearest", "asymmetric"): "nearest", ("linear", "half_pixel"): "bilinear"}
    rounding = node.get("nearest_mode", "round_prefer_floor")
    if (
        how not in modes
        or x.ndim != 4
        or len(scales) != 4
        or scales[:2] != [1, 1]
        or node.get("antialias", 0)
        or (how[0] == "nearest" and rounding != "floor")
    ):
        raise ModelError(
            "Resize is understood of pictures N×C×H×W by scales, nearest (asymmetric, floor) "
            f"or linear (half_pixel), not {' '.join(how)}"
        )
    mode = modes[how]
    corners = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(
        x, scale_factor=scales[2:], mode=mode, recompute_scale_factor=False, **corners
    )


def depth_to_space(node: _Node, inputs: Any) -> Tensor:
    """Channels to blocks of pixels; CRD is torch's pixel shuffle."""
    x: Tensor = inputs[0]
    block = node.get("blocksize", 1)
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    count, channels, height, width = x.shape
    x = x.reshape(count, block, block, channels // block**2, height, width)
    x = x.permute(0, 3, 4, 1, 5, 2)
    return x.reshape(count, channels // block**2, height * block, width * block)


def cut(node: _Node, inputs: Any) -> Tensor:
    """Slice, forwards: starts, ends, axes and steps are inputs."""
    x: Tensor = inputs[0]
    starts, ends = inputs[1].tolist(), inputs[2].tolist()
    given = [
        inputs[i].tolist() if i < len(inputs) and inputs[i] is not None else None for i in (3, 4)
    ]
    axes = given[0] or list(range(len(starts)))
    steps = given[1] or [1] * len(starts)
    if any(step < 1 for step in steps):
        raise ModelError("Slice is understood forwards only")
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def split(node: _Node, inputs: Any) -> tuple[Tensor, ...]:
    """Into parts of the lengths that are given, or into equal ones."""
    x: Tensor = inputs[0]
    axis = node.get("axis", 0)
    if len(inputs) > 1 and inputs[1] is not None:
        return torch.split(x, inputs[1].tolist(), axis)
    count = node.get("num_outputs", len(node.outputs))
    return torch.split(x, -(-x.shape[axis] // count), axis)
