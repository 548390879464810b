"""ONNX networks in float16 or bfloat16, by casting the ONNX itself.

TensorRT 11 knows only strongly typed networks: what a plan computes in is what its ONNX says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..options import ImageInput
from .graphs import (
    constants_of,
    fold_constants,
    load,
    onnx_module,
)
from .islands import float32_islands
from .pictures import feed_pictures
from .recipe import PlanPrecision
from .turing import Dense, dense_to_convolutions

# The first operator set in which convolution and pooling know bfloat16.
_BFLOAT16_OPSET = 22


def prepare(
    path: Path,
    precision: PlanPrecision,
    image_input: ImageInput | None,
    *,
    dense: Dense = "product",
) -> bytes:
    """The ONNX network as a plan is built from it; its outer tensors stay as they are.

    Args:
        path: the ``.onnx`` file.
        precision: of the arithmetic but for the islands, see ``islands``.
        image_input: put in front of the network, so that it takes pictures.
        dense: how dense layers in float32 are written, see ``turing``.

    Raises:
        BackendUnavailable: ``onnx`` is not installed, and the network needs a change.
        ModelError: the network is damaged or has what cannot be cast.
    """
    if precision == "float32" and image_input is None and dense == "product":
        return path.read_bytes()
    model = load(path)
    if image_input is not None:
        feed_pictures(model, image_input)
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


def cast_network(model: Any, precision: PlanPrecision) -> Any:
    """A network that computes in half precision but for its float32 islands.

    Its inputs and outputs keep their types; a cast stands wherever the type changes.

    Args:
        model: an ONNX ``ModelProto``; left as it is.
        precision: ``float16`` or ``bfloat16``.

    Raises:
        ModelError: it has subgraphs, or tensors whose type cannot be told.
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
    """Goes through a graph's nodes in order and gives each its inputs in the type it works in."""

    def __init__(self, graph: Any, precision: PlanPrecision, opset: int) -> None:
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
        self._islands = float32_islands(graph, self._constants)
        values = [*graph.input, *graph.value_info, *graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types |= {one.name: one.data_type for one in graph.initializer}
        self._results = {value.name for value in graph.output}
        # Under which name a float tensor is there in which type.
        there = [*self._constants, *(value.name for value in graph.input)]
        self._names: dict[tuple[str, int], str] = {
            (name, self._types[name]): name for name in there
        }
        self._nodes: list[Any] = []
        self.made: list[Any] = []

    def cast(self) -> list[Any]:
        """The nodes of the network in half precision."""
        for index, node in enumerate(self._graph.node):
            self._add(node, island=index in self._islands)
        return self._nodes

    def _add(self, node: Any, *, island: bool) -> None:
        schema = self._onnx.defs.get_schema(node.op_type, self._opset, node.domain)
        castable = {
            constraint.type_param_str
            for constraint in schema.type_constraints
            if self._type_text in constraint.allowed_type_strs
        }
        fed = _types_of(node.input, schema.inputs)
        given = _types_of(node.output, schema.outputs)
        # What a node works in is the type of its first float input; where that has no half
        # precision, or the result has another type (a Cast), it stays as it is.
        floats = [type_ for name, type_ in fed if self._types.get(name) == self._full]
        work = floats[0] if floats else ""
        halves = not island and work in castable
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
                raise ModelError(f"the type of tensor '{name}' of {node.op_type} cannot be told")
            if self._types[name] == self._full:
                half = halves and type_ == work
                self._result(copy, place, self._half if half else self._full)

    def _result(self, node: Any, place: int, kind: int) -> None:
        """Note a node's float output; one of the network's own becomes float32 at once."""
        name = node.output[place]
        actual = name
        if kind == self._half:
            actual = node.output[place] = f"{name}{self._suffix}"
        self._names[name, kind] = actual
        if name in self._results and kind == self._half:
            self._as(name, self._full)

    def _as(self, name: str, kind: int) -> str:
        """The name under which this float tensor is there in this type; casts it where it must."""
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
