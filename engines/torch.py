"""Networks through torch, on the CPU or a CUDA device: the same ONNX files, in float32."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Array, TensorSpec
from .checks import check_feeds, check_model_file, image_spec
from .closing import Closing
from .errors import BackendUnavailable, InferenceError, ModelError
from .options import EngineOptions, ImageInput

try:
    import onnx
    import torch

    from .torch_ops import OPERATORS, Node
except (ImportError, OSError) as error:
    raise BackendUnavailable(
        f"the torch backend does not load ({error}); install it with: pip install torch onnx"
    ) from error


def describe() -> str:
    """Version and device."""
    device = _device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return f"torch {torch.__version__}, {name}, float32"


class TorchEngine(Closing):
    """A network through torch, on the first CUDA device where there is one, else on the CPU.

    See ``Engine`` for the promises. ``threads`` sets torch's number for the whole process: it
    has no other. Shapes cost nothing here, so the options on them have no effect.

    Raises:
        BackendUnavailable: another precision than float32 is asked for.
        ModelError: the file is missing, damaged, or has an operator this backend does not know.
    """

    def __init__(self, path: Path, *, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        if options.precision not in ("auto", "float32"):
            raise BackendUnavailable(
                f"the torch backend computes in float32, not {options.precision}; "
                "use precision='auto' or backend='openvino'"
            )
        check_model_file(path)
        self._path = path
        self._device = _device()
        self._image = options.image_input
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._graph: _Graph | None = _Graph(path, self._device)
        self._outputs = self._graph.outputs
        self._inputs = image_spec(self._graph.inputs, self._image)
        self._own_inputs = self._graph.inputs

    @property
    def backend(self) -> str:
        """``torch``."""
        return "torch"

    @property
    def device(self) -> str:
        """``CPU`` or e.g. ``cuda:0``."""
        return "CPU" if self._device.type == "cpu" else str(self._device)

    @property
    def precision(self) -> str:
        """``float32``."""
        return "float32"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        return self._outputs

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        graph = self._graph
        if graph is None:
            raise InferenceError(f"the engine of {self._path.name} is closed")
        check_feeds(self._inputs, feeds)
        try:
            with torch.inference_mode(), _full_float32(self._device):
                tensors = {spec.name: self._tensor(feeds[spec.name]) for spec in self._inputs}
                results = graph.run(tensors)
                # Copied: an output may be a view of an input or of a weight.
                return {
                    spec.name: np.array(result.cpu().numpy(), np.float32)
                    for spec, result in zip(self._outputs, results, strict=True)
                }
        except (RuntimeError, IndexError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InferenceError(f"{self._path.name} failed: {reason}") from error

    def close(self) -> None:
        """Let go of the weights; calls under way still end."""
        self._graph = None

    def __repr__(self) -> str:
        return f"TorchEngine({self._path.name}, {self.device})"

    def _tensor(self, array: Array) -> torch.Tensor:
        # torch shares memory with numpy and warns of arrays it may not write to: those are copied.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)
        return tensor if self._image is None else _from_pictures(tensor, self._image)


class _Graph:
    """The nodes of an ONNX file in order, and its weights on a device."""

    def __init__(self, path: Path, device: torch.device) -> None:
        try:
            onnx.checker.check_model(str(path))
            model = onnx.load(str(path))
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
        self._weights = {item.name: _weight(item, device) for item in graph.initializer}
        self.inputs = tuple(_spec(i) for i in graph.input if i.name not in self._weights)
        self.outputs = tuple(_spec(item) for item in graph.output)
        with torch.inference_mode():
            self._nodes = self._fold(nodes)
        self._last = _last_uses(self._nodes, keep=(spec.name for spec in self.outputs))

    def run(self, feeds: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The outputs, in order."""
        values = dict(feeds)
        for node, done in zip(self._nodes, self._last, strict=True):
            values[node.outputs[0]] = self._apply(node, values)
            for name in done:
                values.pop(name, None)
        return [self._value(spec.name, values) for spec in self.outputs]

    def _fold(self, nodes: list[Node]) -> list[Node]:
        """Compute once what depends on weights alone (such as their conversion to float32)."""
        rest = []
        for node in nodes:
            if all(name in self._weights for name in node.inputs if name):
                self._weights[node.outputs[0]] = self._apply(node, {})
            else:
                rest.append(node)
        used = {name for node in rest for name in node.inputs}
        used.update(spec.name for spec in self.outputs)
        self._weights = {name: value for name, value in self._weights.items() if name in used}
        return rest

    def _apply(self, node: Node, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        inputs = [self._value(name, values) if name else None for name in node.inputs]
        return OPERATORS[node.kind](node, inputs)

    def _value(self, name: str, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        value = values.get(name)
        return self._weights[name] if value is None else value


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


def _weight(item: Any, device: torch.device) -> torch.Tensor:
    array = np.array(onnx.numpy_helper.to_array(item))
    tensor = torch.from_numpy(array)
    # Shapes and axes are read by Python: they stay where that is free.
    return tensor.to(device) if tensor.is_floating_point() else tensor


def _spec(item: Any) -> TensorSpec:
    kind = item.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim
    )
    return TensorSpec(item.name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _from_pictures(pictures: torch.Tensor, image: ImageInput) -> torch.Tensor:
    """N×H×W×3 uint8 to what the network wants; see ``ImageInput``."""
    planes = pictures.permute(0, 3, 1, 2)
    if image.channels != image.network_channels:
        planes = planes.flip(1)
    return ((planes.float() - image.mean) / image.scale).contiguous()


def _device() -> torch.device:
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


_cuda_lock = threading.Lock()


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Without TF32, which cuDNN's convolutions use by default.

    The setting belongs to the process: calls on a CUDA device take turns.
    """
    if device.type == "cpu":
        yield
        return
    with _cuda_lock, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
