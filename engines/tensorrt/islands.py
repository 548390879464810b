"""Which nodes of a network stay float32 when the rest is cast to half precision."""

from __future__ import annotations

from typing import Any

import numpy as np

# Their results span many magnitudes, or they divide by sums of squares: half precision loses
# small probabilities and overflows at 65504. A batch normalization that is still a node after
# the export is one that no convolution before it could take in.
SENSITIVE = frozenset(
    {
        "BatchNormalization",
        "Exp",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "Pow",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceSumSquare",
        "Reciprocal",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Sqrt",
    }
)

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

LARGEST_HALF = float(np.finfo(np.float16).max)


def float32_islands(graph: Any, constants: dict[str, Any]) -> set[int]:
    """Indices of the nodes to leave in float32.

    They are: what comes before the first weights (a picture's normalization), or the first
    weights themselves where nothing normalizes what they are fed; what only one of several
    outputs depends on (its head: the log-variance beside the mean); softmax and its like; and
    nodes with constants that float16 cannot hold.

    Args:
        graph: an ONNX ``GraphProto``, its nodes in order, without subgraphs.
        constants: the initialisers' values by name.
    """
    nodes = list(graph.node)
    return (
        {index for index, node in enumerate(nodes) if node.op_type in SENSITIVE}
        | {index for index, node in enumerate(nodes) if _too_large(node, constants)}
        | _entrance(graph, nodes)
        | _heads(graph, nodes)
    )


def _too_large(node: Any, constants: dict[str, Any]) -> bool:
    values = [constants[name] for name in node.input if name in constants]
    return any(
        value.dtype == np.float32 and value.size > 0 and float(np.abs(value).max()) > LARGEST_HALF
        for value in values
    )


def _entrance(graph: Any, nodes: list[Any]) -> set[int]:
    """Nodes that no weights come before; and weights that are fed a network's raw input."""
    raw = {value.name for value in graph.input}  # tensors that no weights came before
    plain = set(raw)  # those of them that are the input still, only moved about
    found = set()
    for index, node in enumerate(nodes):
        fed = [name for name in node.input if name in raw]
        if not fed:
            continue
        if node.op_type in WEIGHTED:
            if any(name in plain for name in fed) and node.op_type == "Conv":
                found.add(index)
            continue
        found.add(index)
        raw.update(node.output)
        if node.op_type in ("Cast", "Gather", "Identity", "Transpose") and fed[0] in plain:
            plain.update(node.output)
    return found


def _heads(graph: Any, nodes: list[Any]) -> set[int]:
    """Nodes that exactly one of several outputs depends on."""
    if len(graph.output) < 2:
        return set()
    users: dict[str, set[str]] = {value.name: {value.name} for value in graph.output}
    found = set()
    for index in range(len(nodes) - 1, -1, -1):
        node = nodes[index]
        needed_by = set().union(*(users.get(name, set()) for name in node.output))
        if len(needed_by) == 1:
            found.add(index)
        for name in node.input:
            users.setdefault(name, set()).update(needed_by)
    return found
