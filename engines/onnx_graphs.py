"""Reads ONNX networks, folds their constants and puts image conversion in front of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_model_file
from .errors import BackendUnavailable, ModelError
from .options import ImageInput


def onnx_module() -> Any:
    """The ``onnx`` package, needed only where a network is changed.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        onnx = importlib.import_module("onnx")
        for part in ("checker", "numpy_helper", "shape_inference", "version_converter"):
            importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise BackendUnavailable(
            f"onnx does not load ({error}); TensorRT and ONNX Runtime need it: pip install onnx"
        ) from error
    return onnx


def load(path: Path) -> Any:
    """An ONNX ``ModelProto``.

    Raises:
        BackendUnavailable: ``onnx`` is not installed.
        ModelError: the file is missing, damaged or not an ONNX network.
    """
    onnx = onnx_module()
    check_model_file(path)
    decode: Any = importlib.import_module("google.protobuf.message").DecodeError
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (OSError, ValueError, decode, onnx.checker.ValidationError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot read the network {path}: {line}") from error
    return model


def input_shapes(model: Any) -> list[tuple[int | None, ...]]:
    """Shapes of a network's inputs; None = any length."""
    constants = {one.name for one in model.graph.initializer}
    return [
        tuple(length.dim_value or None for length in value.type.tensor_type.shape.dim)
        for value in model.graph.input
        if value.name not in constants
    ]


def constants_of(graph: Any) -> dict[str, NDArray[Any]]:
    """The initialisers' values by name."""
    to_array = onnx_module().numpy_helper.to_array
    return {one.name: to_array(one) for one in graph.initializer}


def fold_constants(graph: Any) -> None:
    """Turn constants and casts of initialisers (half weights) into initialisers, in place."""
    onnx = onnx_module()
    known = {one.name: one for one in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        made = None if node.output[0] in outputs else _folded(onnx, node, known)
        if made is None:
            kept.append(node)
        else:
            made.name = node.output[0]
            known[made.name] = made
    used = {name for node in kept for name in node.input} | outputs
    initializers = [one for name, one in known.items() if name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(initializers)


def _folded(onnx: Any, node: Any, known: dict[str, Any]) -> Any:
    """The value of a constant node; None for any other node."""
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        return tensor
    if node.op_type != "Cast" or node.input[0] not in known:
        return None
    to = next(attribute.i for attribute in node.attribute if attribute.name == "to")
    value = onnx.numpy_helper.to_array(known[node.input[0]])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to)
    return onnx.numpy_helper.from_array(value.astype(dtype))


def prepend_image_input(model: Any, image: ImageInput) -> None:
    """Replace the only input, N×3×H×W float32, by N×H×W×3 uint8 of the same name, in place.

    A quarter of the bytes is copied to the GPU. TensorRT accepts uint8 only in a ``Cast``, so that
    is first; then ``(picture - mean) / scale`` in float32.

    Raises:
        ModelError: the network does not have exactly one N×3×H×W float32 input.
    """
    onnx = onnx_module()
    graph = model.graph
    constants = {one.name for one in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    kind = inputs[0].type.tensor_type if inputs else None
    lengths = list(kind.shape.dim) if kind is not None else []
    fits = len(inputs) == 1 and len(lengths) == 4 and lengths[1].dim_value in (0, 3)
    if kind is None or not fits or kind.elem_type != onnx.TensorProto.FLOAT:
        names = ", ".join(value.name for value in inputs)
        raise ModelError(f"image_input needs a network with one N×3×H×W input, not {names}")
    name = inputs[0].name
    converted = f"{name}__converted"
    nodes = _conversion(onnx, graph, image, name, converted)
    for node in graph.node:
        for place, fed in enumerate(node.input):
            if fed == name:
                node.input[place] = converted
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    batch, _, height, width = [
        onnx.TensorShapeProto.Dimension.FromString(length.SerializeToString()) for length in lengths
    ]
    del kind.shape.dim[:]
    kind.elem_type = onnx.TensorProto.UINT8
    kind.shape.dim.extend([batch, height, width])
    kind.shape.dim.add().dim_value = 3


def _conversion(onnx: Any, graph: Any, image: ImageInput, name: str, result: str) -> list[Any]:
    """Nodes from the picture ``name`` to ``result``, their constants added to the graph."""
    steps: list[tuple[str, Any, dict[str, Any]]] = [
        ("Cast", None, {"to": onnx.TensorProto.FLOAT}),
        ("Transpose", None, {"perm": [0, 3, 1, 2]}),
    ]
    if image.channels != image.network_channels:
        steps.append(("Gather", np.array([2, 1, 0], np.int64), {"axis": 1}))
    if image.mean != 0:
        steps.append(("Sub", np.array(image.mean, np.float32), {}))
    if image.scale != 1:
        steps.append(("Div", np.array(image.scale, np.float32), {}))
    nodes = []
    for number, (kind, constant, attributes) in enumerate(steps):
        fed = [name]
        if constant is not None:
            fed.append(f"{result}_{kind.lower()}")
            graph.initializer.append(onnx.numpy_helper.from_array(constant, fed[1]))
        name = result if number == len(steps) - 1 else f"{result}_{number}"
        nodes.append(onnx.helper.make_node(kind, fed, [name], f"{result}_{kind}", **attributes))
    return nodes


def dense_to_convolutions(model: Any) -> None:
    """Replace each ``Gemm`` of float32 weights by a 1×1 convolution, in place.

    TensorRT-RTX 1.7 has no float32 matrix product on Turing GPUs ("FP32 GEMM is not supported" for
    SM75) but compiles the same sums as a convolution. A ``Gemm`` with factors other than 1, a
    transposed input or a bias of another shape than M is kept.
    """
    onnx = onnx_module()
    graph = model.graph
    weights = constants_of(graph)
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "Gemm" and _is_plain_gemm(node, weights):
            nodes += _convolution(onnx, graph, node, weights[node.input[1]])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _attributes(node: Any) -> dict[str, float]:
    return {one.name: one.f if one.type == one.FLOAT else one.i for one in node.attribute}


def _is_plain_gemm(node: Any, weights: dict[str, NDArray[Any]]) -> bool:
    """Whether it is x·W + b, with W and b known and in float32."""
    found = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **_attributes(node)}
    weight = weights.get(node.input[1])
    if weight is None or weight.dtype != np.float32:
        return False
    columns = weight.shape[0 if found["transB"] else 1]
    biases = [weights.get(name) for name in node.input[2:] if name]
    return (found["alpha"], found["beta"], found["transA"]) == (1.0, 1.0, 0) and all(
        bias is not None and bias.shape == (columns,) for bias in biases
    )


def _convolution(onnx: Any, graph: Any, node: Any, weight: Any) -> list[Any]:
    """Unsqueeze, convolve, squeeze; the weights and the axes are added to the graph."""
    result = node.output[0]
    rows = weight if _attributes(node).get("transB") else weight.T
    kernel, axes = f"{result}__kernel", f"{result}__axes"
    from_array = onnx.numpy_helper.from_array
    graph.initializer.append(from_array(np.ascontiguousarray(rows)[:, :, None, None], kernel))
    graph.initializer.append(from_array(np.array([2, 3], np.int64), axes))
    wide, summed = f"{result}__wide", f"{result}__summed"
    bias = [name for name in node.input[2:] if name]
    make = onnx.helper.make_node
    return [
        make("Unsqueeze", [node.input[0], axes], [wide], f"{result}__unsqueeze"),
        make("Conv", [wide, kernel, *bias], [summed], f"{result}__conv", kernel_shape=[1, 1]),
        make("Squeeze", [summed, axes], [result], f"{result}__squeeze"),
    ]
