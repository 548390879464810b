"""Reading ONNX graphs and making them plainer."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..checks import check_model_file
from ..errors import BackendUnavailable, ModelError


def onnx_module() -> Any:
    """The module, which only this backend needs at run time.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        onnx = importlib.import_module("onnx")
        for part in ("checker", "numpy_helper", "shape_inference", "version_converter"):
            importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise BackendUnavailable(
            f"onnx does not load ({error}); it changes networks for TensorRT: pip install onnx"
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
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except _read_errors(onnx) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot read the network {path}: {line}") from error
    return model


def _read_errors(onnx: Any) -> tuple[type[Exception], ...]:
    decode = importlib.import_module("google.protobuf.message").DecodeError
    return (OSError, ValueError, decode, onnx.checker.ValidationError)


def input_shapes(model: Any) -> list[tuple[int | None, ...]]:
    """Of a network's inputs; None where any length may come."""
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
    """Make initialisers of ``Constant`` nodes and of casts of initialisers, in place.

    Weights that are stored in half precision come as casts.
    """
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
    """The value of a constant node; None of another."""
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
