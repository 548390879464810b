"""Operations and bytes of a network, counted in its ONNX graph by shape inference.

A multiply-add is two operations. What a runtime folds when it loads the network (all that hangs
on weights alone) costs nothing, nor does what only moves or renames values. Operators are those
of https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What one run of a network costs.

    Attributes:
        flops: floating-point operations.
        weights: values that are read once a run, whatever the batch.
        ends: values of the inputs and outputs.
        layers: values that convolutions, matrix products and poolings read and write: what would
            travel if nothing stayed in a cache between two of them.
    """

    flops: int
    weights: int
    ends: int
    layers: int

    def least_bytes(self, value_bytes: int) -> int:
        """What must come from memory and go there: weights, inputs, outputs."""
        return value_bytes * (self.weights + self.ends)

    def layer_bytes(self, value_bytes: int) -> int:
        """What travels when every layer reads from memory and writes there."""
        return value_bytes * (self.weights + self.layers)


def count_work(path: Path, shapes: Mapping[str, Shape]) -> Work:
    """Count a network's work for inputs of these shapes.

    Args:
        path: the ``.onnx`` file.
        shapes: of every input; each dimension as it will be.

    Raises:
        ValueError: an input has no shape, the shapes do not fit, or an operator is not known:
            nothing is counted as free by mistake.
    """
    import onnx

    model = onnx.load(str(path))
    _fix_inputs(model, shapes)
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ValueError(f"{path.name} does not take {dict(shapes)}: {error}") from error
    graph = model.graph
    known = {item.name: tuple(item.dims) for item in graph.initializer}
    weights = set(known)
    for item in (*graph.input, *graph.value_info, *graph.output):
        known.setdefault(item.name, _dims(item))
    flops = layers = used = 0
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if all(name in weights for name in inputs):
            weights.update(node.output)  # a constant, or folded into one
            continue
        inner = [known[name] for name in node.input if name]
        outer = [known[name] for name in node.output if name]
        flops += _flops(node, inner, outer, path)
        if node.op_type in _LAYERS:
            layers += sum(math.prod(known[name]) for name in inputs if name not in weights)
            layers += sum(map(math.prod, outer))
        used += sum(math.prod(known[name]) for name in inputs if name in weights)
    ends = sum(math.prod(known[item.name]) for item in graph.output)
    ends += sum(math.prod(shape) for shape in shapes.values())
    return Work(flops, used, ends, layers)


def _fix_inputs(model: Any, shapes: Mapping[str, Shape]) -> None:
    weights = {item.name for item in model.graph.initializer}
    for item in model.graph.input:
        if item.name in weights:
            continue
        if item.name not in shapes:
            raise ValueError(f"the input {item.name} needs a shape")
        dims = item.type.tensor_type.shape.dim
        if len(dims) != len(shapes[item.name]):
            raise ValueError(f"{item.name} has {len(dims)} dimensions, not {shapes[item.name]}")
        for dim, length in zip(dims, shapes[item.name], strict=True):
            dim.dim_value = length
    # What the exporter wrote down about values in between holds for its own batch.
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")


def _dims(item: Any) -> Shape:
    return tuple(d.dim_value for d in item.type.tensor_type.shape.dim)


def _flops(node: Any, inner: Sequence[Shape], outer: Sequence[Shape], path: Path) -> int:
    if any(length <= 0 for shape in outer for length in shape):
        raise ValueError(f"{path.name}: the shape of {node.op_type} {node.name} is not known")
    if node.op_type in _FREE:
        return 0
    if node.op_type in _EACH:
        return _EACH[node.op_type] * math.prod(outer[0])
    if node.op_type in _COUNTS:
        return _COUNTS[node.op_type](node, inner, outer[0])
    raise ValueError(f"{path.name} has the operator {node.op_type}, whose cost is not known")


def _conv(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    # Weights: outputs × inputs a group × kernel.
    each = 2 * math.prod(inner[1][1:]) + (1 if len(inner) > 2 else 0)
    return each * math.prod(out)


def _transposed(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    # Weights: inputs × outputs a group × kernel; each input value is spread over them.
    products = 2 * math.prod(inner[0]) * math.prod(inner[1][1:])
    return products + (math.prod(out) if len(inner) > 2 else 0)


def _gemm(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    depth = inner[0][0 if turned else 1]
    each = 2 * depth + (1 if len(inner) > 2 else 0)
    return each * math.prod(out)


def _matmul(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    return 2 * inner[0][-1] * math.prod(out)


def _pool(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    kernel: Shape = next((tuple(a.ints) for a in node.attribute if a.name == "kernel_shape"), (1,))
    return math.prod(kernel) * math.prod(out)


def _reduced(node: Any, inner: Sequence[Shape], out: Shape) -> int:
    return math.prod(inner[0])


_COUNTS: dict[str, Callable[[Any, Sequence[Shape], Shape], int]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _reduced,
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "ReduceMax": _reduced,
}

# Operations a value of the output.
_EACH = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Neg", "Sqrt", "Exp"), 1),
    **dict.fromkeys(("Relu", "Clip", "Sigmoid", "Tanh", "Abs", "Pow"), 1),
    **dict.fromkeys(("PRelu", "LeakyRelu", "BatchNormalization"), 2),
    **dict.fromkeys(("Softmax", "LogSoftmax"), 3),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), 2),
}

_MOVES = (
    "Concat DepthToSpace Expand Flatten Gather Pad Reshape Resize Slice SpaceToDepth Split Squeeze "
    "Transpose Unsqueeze"
)
_RENAMES = "Cast Constant ConstantOfShape Dropout Identity Shape"
_FREE = frozenset(f"{_MOVES} {_RENAMES}".split())

_LAYERS = frozenset(
    ("Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool")
)
