"""Dense layers as convolutions: TensorRT-RTX multiplies no float32 matrices on Turing GPUs.

Its compiler says "FP32 GEMM is not supported" for SM75 (TensorRT-RTX 1.7), and compiles the same
sums as a 1×1 convolution.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .graphs import constants_of, onnx_module
from .recipe import Recipe, compute_capability

Dense = Literal["product", "convolution"]


def dense_for(recipe: Recipe) -> Dense:
    """How dense layers in float32 have to be written for this target."""
    old = compute_capability(recipe.target) < (8, 0)
    return "convolution" if old and recipe.flavour == "tensorrt_rtx" else "product"


def dense_to_convolutions(model: Any) -> None:
    """Replace each ``Gemm`` of float32 weights by a 1×1 convolution, in place.

    Those with other factors than 1, a transposed input or a bias of another shape than M stay.
    """
    onnx = onnx_module()
    graph = model.graph
    weights = constants_of(graph)
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "Gemm" and _plain(node, weights):
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


def _plain(node: Any, weights: dict[str, NDArray[Any]]) -> bool:
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
