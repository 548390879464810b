"""The three networks on torch, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from facestream.engines.base import Array, BaseEngine, Engine, TensorSpec
from facestream.engines.cards import checksum, load_card, model_path
from facestream.engines.checks import check_feeds
from facestream.engines.devices import driver_report
from facestream.engines.errors import BackendUnavailable, InferenceError, ParityRefused
from facestream.engines.onnx_graphs import constants_of, load
from facestream.engines.options import Device, Serving
from facestream.engines.parity import VerdictStore
from numpy.typing import NDArray
from torch import Tensor

from ..mtcnn.networks import Network
from ..mtcnn.parity import NETWORKS, NetworkGate

# Sides of the max-pooling windows after the first convolutions; their stride is 2.
_POOLS: Final[dict[Network, tuple[int, ...]]] = {
    "mtcnn_pnet": (2,),
    "mtcnn_rnet": (3, 3),
    "mtcnn_onet": (3, 3, 2),
}


def find_device(wanted: Device = "auto") -> torch.device:
    """The device of that kind; ``auto`` is the first CUDA device where torch sees one.

    Raises BackendUnavailable if ``cuda`` is asked for and torch sees none; says why.
    """
    if wanted != "cpu" and torch.cuda.is_available():
        return torch.device("cuda:0")
    if wanted != "cuda":
        return torch.device("cpu")
    problem = driver_report().problem
    if problem is None:
        problem = (
            f"torch {torch.__version__} is built without CUDA; install a build with it"
            if torch.version.cuda is None
            else f"torch {torch.__version__} (CUDA {torch.version.cuda}) does not start on the GPU"
        )
    raise BackendUnavailable(f"torch sees no CUDA device: {problem}")


class TorchNetwork(BaseEngine):
    """P-, R- or O-Net; an ``Engine`` for the parity gate, called with tensors by the detector.

    Raises:
        BackendUnavailable: the ``onnx`` package, which reads the weights, is missing.
        ModelError: the network's file is missing or damaged.
    """

    def __init__(self, name: Network, device: torch.device) -> None:
        card = load_card(name)
        self.backend, self.precision = "torch", "float32"
        self.device = "CPU" if device.type == "cpu" else str(device)
        self.inputs, self.outputs = (
            tuple(TensorSpec(one.name, one.shape, np.dtype(one.dtype)) for one in cards)
            for cards in (card.inputs, card.outputs)
        )
        self._name = name
        self._device = device
        constants = constants_of(load(model_path(name)).graph)
        self._weights = {
            key: torch.from_numpy(np.array(value)).to(device) for key, value in constants.items()
        }

    def __call__(self, x: Tensor) -> Tensor:
        """The output, on the device; the work is put on the current stream, not waited for."""
        weights = self._weights
        layer = 0
        while f"conv{layer + 1}.weight" in weights:
            conv = f"conv{layer + 1}"
            x = F.conv2d(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"])
            x = F.prelu(x, weights[f"prelu{layer + 1}.slope"].flatten())
            if layer < len(_POOLS[self._name]):
                x = F.max_pool2d(x, _POOLS[self._name][layer], stride=2, ceil_mode=True)
            layer += 1
        if "dense.weight" not in weights:
            return F.conv2d(x, weights["heads.weight"], weights["heads.bias"])
        x = F.linear(x.flatten(1), weights["dense.weight"], weights["dense.bias"])
        x = F.prelu(x, weights["dense.slope"])
        return F.linear(x, weights["heads.weight"], weights["heads.bias"])

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        check_feeds(self.inputs, feeds)
        try:
            with torch.inference_mode():
                array = np.require(feeds[self.inputs[0].name], requirements=["C", "W"])
                found = self(torch.from_numpy(array).to(self._device))
                return {self.outputs[0].name: found.cpu().numpy()}
        except RuntimeError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InferenceError(f"{self._name} failed: {reason}") from error

    def close(self) -> None:
        """Free the weights."""
        self._weights = {}


class TorchNetworks:
    """P-, R- and O-Net, called with tensors.

    ``pnet`` gives maps B×5×h×w of pictures B×3×H×W, ``rnet`` heads N×5 of crops N×3×24×24, ``onet``
    heads N×15 of crops N×3×48×48.

    Args:
        serving: its device, and its cache for the parity gate's verdicts.

    Raises:
        BackendUnavailable: torch sees no such device.
        ParityRefused: the results on a CUDA device are not those of the reference.
        ModelError: a network's file is missing or damaged.
    """

    def __init__(self, serving: Serving) -> None:
        self.device = find_device(serving.device)
        self.pnet, self.rnet, self.onet = (TorchNetwork(name, self.device) for name in NETWORKS)
        self.engines: dict[str, Engine] = dict(
            zip(NETWORKS, (self.pnet, self.rnet, self.onet), strict=True)
        )
        if self.device.type == "cuda":
            use_full_float32()
            # The weights come on the default stream, which the search's stream does not wait for.
            torch.cuda.synchronize(self.device)
            self._judge(VerdictStore(serving.cache))

    def close(self) -> None:
        """Free the networks."""
        for engine in self.engines.values():
            engine.close()

    def _judge(self, store: VerdictStore) -> None:
        machine = f"torch {torch.__version__}, {torch.cuda.get_device_name(self.device)}"
        for name in NETWORKS:
            verdict = store.judged(
                self.engines[name],
                NetworkGate(name),
                network=checksum(model_path(name)),
                machine=machine,
            )
            if not verdict.passed:
                raise ParityRefused(
                    f"{name} in float32 on torch ({self.device}) is refused by the parity gate: "
                    f"{'; '.join(verdict.refused)}"
                )


def use_full_float32() -> None:
    """Compute without TF32 on CUDA from now on: a setting of the whole process.

    cuDNN's convolutions use it by default. It is set once: to set it around each call needs a lock
    on the hot path. https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    """
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
