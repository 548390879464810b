"""ONNX networks in float16 or bfloat16, by casting the ONNX itself.

TensorRT 11 has only strongly typed networks, and ONNX Runtime computes in the types of the graph:
both compute in what the ONNX says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .onnx_graphs import (
    constants_of,
    dense_to_convolutions,
    fold_constants,
    load,
    onnx_module,
    prepend_image_input,
)
from .options import ImageInput

FloatPrecision = Literal["float32", "float16", "bfloat16"]
Dense = Literal["product", "convolution"]

# The first operator set in which convolution and pooling know bfloat16.
_BFLOAT16_OPSET = 22


def prepare(
    path: Path,
    precision: FloatPrecision,
    image_input: ImageInput | None,
    *,
    dense: Dense = "product",
) -> bytes:
    """The ONNX network as a plan is built from it; its outer tensors stay as they are.

    Args:
        path: the ``.onnx`` file.
        precision: of the arithmetic, but for the float32 nodes (``find_fp32_nodes``).
        image_input: put in front of the network, so that it takes pictures.
        dense: how dense layers in float32 are written, see ``dense_to_convolutions``.

    Raises:
        BackendUnavailable: ``onnx`` is not installed, and the network needs a change.
        ModelError: the network is damaged or cannot be cast.
    """
    if precision == "float32" and image_input is None and dense == "product":
        return path.read_bytes()
    model = load(path)
    if image_input is not None:
        prepend_image_input(model, image_input)
    if precision != "float32":
        model = cast_network(model, precision)
    if dense == "convolution":
        fold_constants(model.graph)
        dense_to_convolutions(model)
    onnx = onnx_module()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"{path.name} cannot be cast to {precision}: {error}") from error
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def cast_network(model: Any, precision: FloatPrecision) -> Any:
    """A network that computes in half precision, but for its float32 nodes.

    Its inputs and outputs keep their types; a cast stands wherever the type changes.

    Args:
        model: an ONNX ``ModelProto``; left as it is.
        precision: ``float16`` or ``bfloat16``.

    Raises:
        ModelError: it has subgraphs, or tensors of unknown type.
    """
    onnx = onnx_module()
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise ModelError("networks with subgraphs (If, Loop, Scan) cannot be cast")
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if precision == "bfloat16" and opset < _BFLOAT16_OPSET:
        opset = _BFLOAT16_OPSET
        model = onnx.version_converter.convert_version(model, opset)
    cast = onnx.ModelProto()
    cast.CopyFrom(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    fold_constants(cast.graph)
    caster = _Caster(cast.graph, precision, opset)
    nodes = caster.cast()
    del cast.graph.node[:], cast.graph.value_info[:]
    cast.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in [*cast.graph.initializer, *caster.made] if one.name in used]
    del cast.graph.initializer[:]
    cast.graph.initializer.extend(kept)
    return cast


class _Caster:
    """Copies a graph's nodes in order, with inputs in the type each node computes in."""

    def __init__(self, graph: Any, precision: FloatPrecision, opset: int) -> None:
        onnx = onnx_module()
        self._onnx = onnx
        self._opset = opset
        kinds = onnx.TensorProto
        self._full: int = kinds.FLOAT
        self._half: int = kinds.FLOAT16 if precision == "float16" else kinds.BFLOAT16
        self._suffix = f"__{precision}"
        self._type_text = f"tensor({precision})"
        self._pack = _float16 if precision == "float16" else _bfloat16
        self._graph = graph
        self._constants = constants_of(graph)
        self._fp32_nodes = find_fp32_nodes(graph, self._constants)
        values = [*graph.input, *graph.value_info, *graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types |= {one.name: one.data_type for one in graph.initializer}
        self._results = {value.name for value in graph.output}
        # The name of each float tensor in each type that exists.
        there = [*self._constants, *(value.name for value in graph.input)]
        self._names: dict[tuple[str, int], str] = {
            (name, self._types[name]): name for name in there
        }
        self._nodes: list[Any] = []
        self.made: list[Any] = []

    def cast(self) -> list[Any]:
        """The nodes of the network in half precision."""
        for index, node in enumerate(self._graph.node):
            self._add(node, fp32=index in self._fp32_nodes)
        return self._nodes

    def _add(self, node: Any, *, fp32: bool) -> None:
        schema = self._onnx.defs.get_schema(node.op_type, self._opset, node.domain)
        castable = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if self._type_text in constraint.allowed_type_strs
        }
        fed = _types_of(node.input, schema.inputs)
        given = _types_of(node.output, schema.outputs)
        # A node computes in the type of its first float input; where that has no half precision,
        # or the result has another type (a Cast), the node keeps its types.
        floats = [type_ for name, type_ in fed if self._types.get(name) == self._full]
        work = floats[0] if floats else ""
        halves = not fp32 and work in castable
        copy = self._onnx.NodeProto()
        copy.CopyFrom(node)
        for place, (name, type_) in enumerate(fed):
            if self._types.get(name) == self._full:
                kind = self._half if halves and type_ in castable else self._full
                copy.input[place] = self._as(name, kind)
        self._nodes.append(copy)
        for place, (name, type_) in enumerate(given):
            if not name:
                continue
            if name not in self._types:
                raise ModelError(f"the type of tensor '{name}' of {node.op_type} is unknown")
            if self._types[name] == self._full:
                half = halves and type_ == work
                self._result(copy, place, self._half if half else self._full)

    def _result(self, node: Any, place: int, kind: int) -> None:
        """Record a node's float output; an output of the network is cast to float32 at once."""
        name = node.output[place]
        actual = name
        if kind == self._half:
            actual = node.output[place] = f"{name}{self._suffix}"
        self._names[name, kind] = actual
        if name in self._results and kind == self._half:
            self._as(name, self._full)

    def _as(self, name: str, kind: int) -> str:
        """The name of this float tensor in this type; adds a cast where needed."""
        known = self._names.get((name, kind))
        if known is not None:
            return known
        cast = f"{name}{self._suffix}" if kind == self._half else name
        if name in self._constants:
            self.made.append(self._constant(cast, self._constants[name]))
        else:
            other = self._names[name, self._full if kind == self._half else self._half]
            self._nodes.append(
                self._onnx.helper.make_node("Cast", [other], [cast], f"{cast}__cast", to=kind)
            )
        self._names[name, kind] = cast
        return cast

    def _constant(self, name: str, value: NDArray[Any]) -> Any:
        packed = self._pack(value.astype(np.float32))
        return self._onnx.helper.make_tensor(
            name, self._half, value.shape, packed.tobytes(), raw=True
        )


def _types_of(names: Any, formal: Any) -> list[tuple[str, str]]:
    """Each tensor's name and type parameter; the last formal one takes all that are left."""
    last = len(formal) - 1
    return [(name, formal[min(place, last)].type_str) for place, name in enumerate(names)]


def _float16(values: NDArray[np.float32]) -> NDArray[Any]:
    return values.astype(np.dtype("<f2"))


def _bfloat16(values: NDArray[np.float32]) -> NDArray[Any]:
    """Rounded to the nearest, ties to even: the upper half of a float32."""
    bits = values.astype(np.dtype("<f4")).view(np.uint32)
    rounded: NDArray[Any] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.dtype("<u2"))
    return rounded


# Their results span many magnitudes, or they divide by sums of squares: half precision loses
# small probabilities and overflows at 65504. The export folds batch normalizations into the
# convolution before them; one that is left could not be folded.
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


def find_fp32_nodes(graph: Any, constants: dict[str, Any]) -> set[int]:
    """Indices of the nodes to leave in float32.

    These are: all nodes before the first weights (an image's normalization), or the first weights
    themselves where nothing normalizes their input; nodes that only one of several outputs depends
    on (the log-variance's head); ``SENSITIVE`` ones; those with constants beyond float16's range.

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
    """Nodes before the first weights, and convolutions of a network's raw input."""
    raw = {value.name for value in graph.input}  # tensors before the first weights
    plain = set(raw)  # those that are the input itself, at most cast, transposed or reordered
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
