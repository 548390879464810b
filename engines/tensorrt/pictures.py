"""Pictures as a network's input: their conversion put in front of it, as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ModelError
from ..options import ImageInput
from .graphs import onnx_module


def feed_pictures(model: Any, image: ImageInput) -> None:
    """Replace the only input, N×3×H×W float32, by N×H×W×3 uint8 of the same name, in place.

    A quarter of the bytes is copied to the GPU. TensorRT takes uint8 through a ``Cast`` alone,
    so that comes first; then ``(picture - mean) / scale`` in float32.

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
