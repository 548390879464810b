"""An ONNX file as torch operations on a device, node by node.

Imported by ``torch.py`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from .base import TensorSpec
from .errors import ModelError
from .tensorrt.casting import prepare
from .tensorrt.recipe import PlanPrecision
from .torch_ops import OPERATORS, READ_BY_PYTHON, Node


class Graph:
    """The nodes of an ONNX file in order, and its weights on a device."""

    def __init__(self, path: Path, device: torch.device, precision: PlanPrecision) -> None:
        try:
            onnx.checker.check_model(str(path))
            model = _read(path, precision)
        except (onnx.checker.ValidationError, OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"cannot read the network {path}: {reason}") from error
        graph = model.graph
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        nodes = [_node(item, opset, device) for item in graph.node]
        unknown = sorted({node.kind for node in nodes} - set(OPERATORS))
        if unknown:
            raise ModelError(
                f"{path} has operators the torch backend does not know: {', '.join(unknown)}; "
                "use backend='openvino'"
            )
        read = _read_by_python(nodes)
        self._weights = {
            item.name: _weight(item, torch.device("cpu") if item.name in read else device)
            for item in graph.initializer
        }
        self.inputs = tuple(_spec(i) for i in graph.input if i.name not in self._weights)
        self.outputs = tuple(_spec(item) for item in graph.output)
        with torch.inference_mode():
            self._nodes = self._fold(nodes)
        # What convolves in half precision is quickest where a pixel's channels lie side by side.
        self._layout = torch.contiguous_format if precision == "float32" else torch.channels_last
        self._weights = {name: self._laid_out(value) for name, value in self._weights.items()}
        self._storages = {value.untyped_storage().data_ptr() for value in self._weights.values()}
        self._last = _last_uses(self._nodes, keep=(spec.name for spec in self.outputs))

    @property
    def storages(self) -> set[int]:
        """Addresses of the weights: an output there is a view of one."""
        return self._storages

    def run(self, feeds: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The outputs, in order."""
        values = {name: self._laid_out(value) for name, value in feeds.items()}
        for node, done in zip(self._nodes, self._last, strict=True):
            values.update(self._apply(node, values))
            for name in done:
                values.pop(name, None)
        return [self._value(spec.name, values).contiguous() for spec in self.outputs]

    def _laid_out(self, value: torch.Tensor) -> torch.Tensor:
        """Pictures and kernels in the layout that suits the precision."""
        return value.contiguous(memory_format=self._layout) if value.ndim == 4 else value

    def _fold(self, nodes: list[Node]) -> list[Node]:
        """Compute once what depends on weights alone (such as their conversion to float32)."""
        rest = []
        for node in nodes:
            if all(name in self._weights for name in node.inputs if name):
                self._weights.update(self._apply(node, {}))
            else:
                rest.append(node)
        used = {name for node in rest for name in node.inputs}
        used.update(spec.name for spec in self.outputs)
        self._weights = {name: value for name, value in self._weights.items() if name in used}
        return rest

    def _apply(self, node: Node, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What a node computes, by name."""
        inputs = [self._value(name, values) if name else None for name in node.inputs]
        result = OPERATORS[node.kind](node, inputs)
        several = result if isinstance(result, tuple) else (result,)
        return dict(zip(node.outputs, several, strict=False))

    def _value(self, name: str, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        value = values.get(name)
        return self._weights[name] if value is None else value


def _read(path: Path, precision: PlanPrecision) -> Any:
    """The network in this precision, its islands and its outer tensors in float32."""
    if precision == "float32":
        return onnx.load(str(path))
    return onnx.load_model_from_string(prepare(path, precision, None))


def _last_uses(nodes: list[Node], *, keep: Iterable[str]) -> list[tuple[str, ...]]:
    """What is not needed any more after each node, so that its memory is free again."""
    kept = set(keep)
    uses = []
    for node in reversed(nodes):
        done = {name for name in node.inputs if name} - kept
        kept |= done
        uses.append(tuple(done))
    return uses[::-1]


def _node(item: Any, opset: int, device: torch.device) -> Node:
    attributes = {}
    for attribute in item.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = _weight(value, device)
        attributes[attribute.name] = value
    return Node(item.op_type, opset, attributes, tuple(item.input), tuple(item.output))


def _read_by_python(nodes: list[Node]) -> set[str]:
    """Names of what is read on the host: fetching it from a device would wait for the device."""
    return {
        node.inputs[position]
        for node in nodes
        for position in READ_BY_PYTHON.get(node.kind, ())
        if position < len(node.inputs)
    }


def _weight(item: Any, device: torch.device) -> torch.Tensor:
    array = np.array(onnx.numpy_helper.to_array(item))
    if item.data_type == onnx.TensorProto.BFLOAT16:  # numpy has no such type of its own
        tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    # Shapes and axes are read by Python: they stay where that is free.
    return tensor.to(device) if tensor.is_floating_point() else tensor


def _spec(item: Any) -> TensorSpec:
    kind = item.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim
    )
    return TensorSpec(item.name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
