"""ONNX operators as torch functions: one table, a few lines each.

Only what face networks are made of (convolution, pooling, normalisation, dense layers and the
arithmetic exporters put around them), with ONNX's inference semantics:
https://onnx.ai/onnx/operators/. Converters on the registry either import torchvision, whose
registry wheel does not load beside a CPU-only torch, or are no longer kept.

Imported by ``torch.py`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ModelError
from .torch_shapes import (
    cut,
    depth_to_space,
    resize,
    split,
)

Inputs = Sequence[Any]  # Tensor, or None where an optional input is left out


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph.

    Attributes:
        kind: ONNX operator, e.g. ``Conv``.
        opset: version of the operator set the graph was written for.
        attributes: as in the file, strings decoded.
        inputs: names; empty where an optional input is left out.
        outputs: names; an operator computes the first, or all as a tuple.
    """

    kind: str
    opset: int
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def get(self, name: str, default: Any) -> Any:
        """An attribute, or ONNX's default for it."""
        return self.attributes.get(name, default)


Operator = Callable[[Node, Inputs], Tensor | tuple[Tensor, ...]]


def _conv(node: Node, inputs: Inputs) -> Tensor:
    x, weight, bias = inputs[0], inputs[1], _optional(inputs, 2)
    size = weight.ndim - 2
    convolve: Any = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[size]
    strides = node.get("strides", [1] * size)
    dilations = node.get("dilations", [1] * size)
    x, padding = _padded(node, x, list(weight.shape[2:]), fill=0.0)
    result: Tensor = convolve(x, weight, bias, strides, padding, dilations, node.get("group", 1))
    return result


def _max_pool(node: Node, inputs: Inputs) -> Tensor:
    kernel = node.attributes["kernel_shape"]
    pool: Any = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)]
    x, padding = _padded(node, inputs[0], kernel, fill=float("-inf"))
    result: Tensor = pool(
        x,
        kernel,
        node.get("strides", [1] * len(kernel)),
        padding,
        node.get("dilations", [1] * len(kernel)),
        ceil_mode=bool(node.get("ceil_mode", 0)),
    )
    return result


def _average_pool(node: Node, inputs: Inputs) -> Tensor:
    kernel = node.attributes["kernel_shape"]
    pads = node.get("pads", [0] * 2 * len(kernel))
    if len(kernel) != 2 or pads[:2] != pads[2:] or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise ModelError("AveragePool is understood in two dimensions with even padding only")
    return F.avg_pool2d(
        inputs[0],
        kernel,
        node.get("strides", [1, 1]),
        pads[:2],
        ceil_mode=bool(node.get("ceil_mode", 0)),
        count_include_pad=bool(node.get("count_include_pad", 0)),
    )


def _padded(node: Node, x: Tensor, kernel: list[int], *, fill: float) -> tuple[Tensor, list[int]]:
    """Padding torch can do itself, after any that it cannot is put around ``x``."""
    size = len(kernel)
    auto = node.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        pads = node.get("pads", [0] * 2 * size)
    elif auto == "VALID":
        pads = [0] * 2 * size
    else:
        pads = _same_pads(node, x, kernel, upper=auto == "SAME_UPPER")
    before, after = pads[:size], pads[size:]
    even = before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True))
    if even:
        return x, list(before)
    flat = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    return F.pad(x, flat, value=fill), [0] * size


def _same_pads(node: Node, x: Tensor, kernel: list[int], *, upper: bool) -> list[int]:
    """Padding that gives ceil(length / stride) results."""
    size = len(kernel)
    strides = node.get("strides", [1] * size)
    dilations = node.get("dilations", [1] * size)
    before, after = [], []
    for length, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
    return before + after


def _batch_normalization(node: Node, inputs: Inputs) -> Tensor:
    x, scale, bias, mean, variance = inputs[:5]
    return F.batch_norm(x, mean, variance, scale, bias, eps=node.get("epsilon", 1e-5))


def _prelu(node: Node, inputs: Inputs) -> Tensor:
    x, slope = inputs
    per_channel = slope.ndim == x.ndim - 1 and slope.numel() == slope.shape[0] == x.shape[1]
    if per_channel:
        return F.prelu(x, slope.flatten())
    return torch.where(x < 0, x * slope, x)


def _gemm(node: Node, inputs: Inputs) -> Tensor:
    a: Tensor = inputs[0].T if node.get("transA", 0) else inputs[0]
    b: Tensor = inputs[1].T if node.get("transB", 0) else inputs[1]
    product = a @ b * node.get("alpha", 1.0)
    bias = _optional(inputs, 2)
    return product if bias is None else torch.add(product, bias * node.get("beta", 1.0))


def _flatten(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(_product(x.shape[:axis]), _product(x.shape[axis:]))


def _reshape(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    shape = inputs[1].tolist()
    if not node.get("allowzero", 0):
        shape = [x.shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return x.reshape(shape)


def _transpose(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    return x.permute(node.get("perm", list(reversed(range(x.ndim)))))


def _softmax(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    if node.opset >= 13:
        return torch.softmax(x, node.get("axis", -1))
    axis = node.get("axis", 1)  # older: over everything from this axis on
    return torch.softmax(x.flatten(axis), -1).reshape(x.shape)


def _concat(node: Node, inputs: Inputs) -> Tensor:
    return torch.cat(list(inputs), node.attributes["axis"])


def _clip(node: Node, inputs: Inputs) -> Tensor:
    low = node.get("min", _optional(inputs, 1))
    high = node.get("max", _optional(inputs, 2))
    x: Tensor = inputs[0]
    return x if low is None and high is None else torch.clamp(x, low, high)


def _cast(node: Node, inputs: Inputs) -> Tensor:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}
    kinds |= {10: torch.float16, 16: torch.bfloat16}
    to = node.attributes["to"]
    if to not in kinds:
        raise ModelError(f"Cast to ONNX type {to} is not understood")
    x: Tensor = inputs[0]
    return x.to(kinds[to])


def _squeeze(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    axes = _axes(node, inputs)
    return x.squeeze() if axes is None else x.squeeze(axes)


def _unsqueeze(node: Node, inputs: Inputs) -> Tensor:
    x: Tensor = inputs[0]
    axes = _axes(node, inputs) or ()
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def _constant(node: Node, inputs: Inputs) -> Tensor:
    if "value" not in node.attributes:
        raise ModelError("Constant is understood with a tensor value only")
    value: Tensor = node.attributes["value"]
    return value


def _reduce(
    function: Callable[[Tensor, tuple[int, ...], bool], Tensor],
) -> Operator:
    def operator(node: Node, inputs: Inputs) -> Tensor:
        x: Tensor = inputs[0]
        axes = _axes(node, inputs)
        if not axes:
            if node.get("noop_with_empty_axes", 0):
                return x
            axes = tuple(range(x.ndim))
        return function(x, axes, bool(node.get("keepdims", 1)))

    return operator


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda node, inputs: function(inputs[0])


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, inputs: function(inputs[0], inputs[1])


def _axes(node: Node, inputs: Inputs) -> tuple[int, ...] | None:
    """Axes: an attribute in older operator sets, the second input in newer ones."""
    given = _optional(inputs, 1)
    axes = node.get("axes", None) if given is None else given.tolist()
    return None if axes is None else tuple(axes)


def _optional(inputs: Inputs, position: int) -> Any:
    return inputs[position] if position < len(inputs) else None


def _product(lengths: Sequence[int]) -> int:
    result = 1
    for length in lengths:
        result *= length
    return result


OPERATORS: dict[str, Operator] = {
    "Add": _binary(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "DepthToSpace": depth_to_space,
    "Div": _binary(torch.div),
    "Dropout": _unary(lambda x: x),
    "Exp": _unary(torch.exp),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node, inputs: inputs[0].mean(
        tuple(range(2, inputs[0].ndim)), keepdim=True
    ),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda node, inputs: F.leaky_relu(inputs[0], node.get("alpha", 0.01)),
    "Log": _unary(torch.log),
    "MatMul": _binary(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "PRelu": _prelu,
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _unary(torch.relu),
    "Reshape": _reshape,
    "Resize": resize,
    "Sigmoid": _unary(torch.sigmoid),
    "Slice": cut,
    "Softmax": _softmax,
    "Softplus": _unary(F.softplus),
    "Split": split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(torch.sub),
    "Tanh": _unary(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

# Floating-point inputs that Python reads: they stay on the host, as integers do.
READ_BY_PYTHON: dict[str, tuple[int, ...]] = {"Resize": (1, 2)}
