"""Networks through torch, on the CPU or a CUDA device: the same ONNX files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .base import Array, Precision, TensorSpec
from .checks import check_feeds, check_model_file, image_spec
from .closing import Closing
from .devices import driver_report
from .errors import BackendUnavailable, InferenceError
from .options import Device, EngineOptions, ImageInput
from .tensorrt.recipe import PlanPrecision

try:
    import onnx  # noqa: F401  # tells what is missing here rather than deep in an import
    import torch

    from .torch_cuda import (
        GraphCounts,
        Replays,
        Streams,
        full_float32,
    )
    from .torch_graph import Graph
except (ImportError, OSError) as error:
    raise BackendUnavailable(
        f"the torch backend does not load ({error}); install it with: pip install torch onnx"
    ) from error

Tensors = dict[str, torch.Tensor]


def describe(device: Device = "auto") -> str:
    """Version, device and the precisions ``auto`` may mean.

    Raises:
        BackendUnavailable: torch sees no such device.
    """
    found = find_device(device)
    if found.type == "cpu":
        return f"torch {torch.__version__}, CPU, float32"
    name = torch.cuda.get_device_name(found)
    return f"torch {torch.__version__}, {name}, float16 or float32"


def find_device(wanted: Device = "auto") -> torch.device:
    """The device of that kind; ``auto`` is the first CUDA device where torch sees one.

    Raises:
        BackendUnavailable: ``cuda`` is asked for and torch sees none; says why.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    if wanted == "auto":
        return torch.device("cpu")
    problem = driver_report().problem
    if problem is None:
        problem = (
            f"torch {torch.__version__} is built without CUDA; install a build with it"
            if torch.version.cuda is None
            else f"torch {torch.__version__} (CUDA {torch.version.cuda}) does not start on the GPU"
        )
    raise BackendUnavailable(f"torch sees no CUDA device: {problem}")


def choose_precision(wanted: Precision, device: torch.device) -> PlanPrecision:
    """The arithmetic to use; ``auto`` is float32, as nothing here judges rounded results.

    Raises:
        BackendUnavailable: torch does not compute it on this device.
    """
    if wanted in ("auto", "float32"):
        return "float32"
    if wanted == "float16" and device.type == "cuda":
        return "float16"
    if wanted == "bfloat16" and (
        device.type == "cpu" or torch.cuda.get_device_capability(device) >= (8, 0)
    ):
        return "bfloat16"
    where = "the CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    raise BackendUnavailable(
        f"the torch backend does not compute {wanted} on {where}; "
        "use precision='auto' or another backend"
    )


class TorchEngine(Closing):
    """A network through torch, on the first CUDA device where there is one, else on the CPU.

    See ``Engine`` for the promises. On the CPU ``threads`` sets torch's number for the whole
    process: it has no other. On a CUDA device the batch sizes of ``shapes`` are captured as CUDA
    graphs when the engine is made, and ``static_shapes`` captures others that come often.

    Raises:
        BackendUnavailable: torch has no such device, or does not compute the precision on it.
        ModelError: the file is missing, damaged, or has an operator this backend does not know.
    """

    reason: str = ""
    """Why nothing better serves in its place; told by whoever chose it."""

    def __init__(self, path: Path, *, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        self._device = find_device(options.device)
        self._precision = choose_precision(options.precision, self._device)
        check_model_file(path)
        self._path = path
        self._image = options.image_input
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        graph = Graph(path, self._device, self._precision)
        self._outputs = graph.outputs
        self._inputs = image_spec(graph.inputs, self._image)
        self._streams: Streams | None = None
        self._replays: Replays | None = None
        if self._device.type == "cuda":
            launch = partial(self._plain, graph)
            self._streams = Streams(self._device)
            self._replays = Replays(
                launch, self._inputs, self._outputs, options, self._device, path.name
            )
            self._replays.capture_batches()
        self._graph: Graph | None = graph

    @property
    def backend(self) -> str:
        """``torch``."""
        return "torch"

    @property
    def device(self) -> str:
        """``CPU`` or e.g. ``cuda:0``."""
        return "CPU" if self._device.type == "cpu" else str(self._device)

    @property
    def torch_device(self) -> torch.device:
        """Where ``run_tensors`` wants its tensors."""
        return self._device

    @property
    def precision(self) -> str:
        """``float32``, ``float16`` or ``bfloat16``."""
        return self._precision

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What ``infer`` gives."""
        return self._outputs

    @property
    def graphs(self) -> GraphCounts:
        """CUDA graphs there are now, and captures that failed."""
        replays = self._replays
        return GraphCounts() if replays is None else replays.counts

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        graph = self._open_graph()
        check_feeds(self._inputs, feeds)
        stream = nullcontext() if self._streams is None else self._streams.next()
        with self._failures(), torch.inference_mode(), stream:
            tensors = {spec.name: self._tensor(feeds[spec.name]) for spec in self._inputs}
            results = self._run(graph, tensors)
            # Copied: an output may be a view of an input or of a weight.
            return {name: np.array(result.cpu().numpy()) for name, result in results.items()}

    def run_tensors(self, feeds: Mapping[str, torch.Tensor]) -> Tensors:
        """Run the network on tensors that are on its device; nothing leaves it, nothing waits.

        The work is put on the caller's current stream. While that stream is captured for a
        larger CUDA graph the network becomes part of it.

        Args:
            feeds: one tensor per input, on ``torch_device``, with the input's dtype and a shape
                that fits its spec; not checked as ``infer`` does.

        Returns:
            One float32 tensor per output, on the device; they belong to the caller.

        Raises:
            InferenceError: a feed is missing or the network failed.
        """
        missing = [spec.name for spec in self._inputs if spec.name not in feeds]
        if missing:
            raise InferenceError(f"input '{missing[0]}' is not fed; got {', '.join(feeds)}")
        graph = self._open_graph()
        with self._failures(), torch.inference_mode():
            results = self._run(graph, feeds)
            lent = {tensor.untyped_storage().data_ptr() for tensor in feeds.values()}
            lent |= graph.storages
            return {
                name: tensor.clone() if tensor.untyped_storage().data_ptr() in lent else tensor
                for name, tensor in results.items()
            }

    def close(self) -> None:
        """Let go of the weights; calls under way still end."""
        self._graph = None
        replays, self._replays = self._replays, None
        if replays is not None:
            replays.close()

    def __repr__(self) -> str:
        return f"TorchEngine({self._path.name}, {self.device}, {self._precision})"

    def _run(self, graph: Graph, feeds: Mapping[str, torch.Tensor]) -> Tensors:
        replays = self._replays
        replayed = None if replays is None else replays.run(feeds)
        return self._plain(graph, feeds) if replayed is None else replayed

    def _plain(self, graph: Graph, feeds: Mapping[str, torch.Tensor]) -> Tensors:
        """Launch node by node."""
        tensors = {spec.name: feeds[spec.name] for spec in self._inputs}
        if self._image is not None:
            image = self._image
            tensors = {name: _from_pictures(value, image) for name, value in tensors.items()}
        with full_float32(self._device):
            results = graph.run(tensors)
        return {
            spec.name: result.float() for spec, result in zip(self._outputs, results, strict=True)
        }

    def _open_graph(self) -> Graph:
        graph = self._graph
        if graph is None:
            raise InferenceError(f"the engine of {self._path.name} is closed")
        return graph

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """torch's errors as ``InferenceError``, in one line."""
        try:
            yield
        except (RuntimeError, IndexError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InferenceError(f"{self._path.name} failed: {reason}") from error

    def _tensor(self, array: Array) -> torch.Tensor:
        # torch shares memory with numpy and warns of arrays it may not write to: those are copied.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if self._device.type == "cpu":
            return tensor
        # Pinned memory is copied while the host goes on; torch keeps it until the copy is done.
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _from_pictures(pictures: torch.Tensor, image: ImageInput) -> torch.Tensor:
    """N×H×W×3 uint8 to what the network wants; see ``ImageInput``."""
    planes = pictures.permute(0, 3, 1, 2)
    if image.channels != image.network_channels:
        planes = planes.flip(1)
    return ((planes.float() - image.mean) / image.scale).contiguous()
