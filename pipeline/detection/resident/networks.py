"""The three networks on tensors of a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from facestream.engines.base import Engine
from facestream.engines.cards import model_path
from facestream.engines.closing import Closing
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.serving import serve
from torch import Tensor, device

from ..mtcnn.networks import Network
from ..mtcnn.parity import NetworkGate


@runtime_checkable
class OnTensors(Protocol):
    """An engine that also runs on torch's tensors, as ``TorchEngine`` does."""

    @property
    def torch_device(self) -> device:
        """Where it wants them."""
        ...

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the network without waiting for it."""
        ...


class EngineNetworks(Closing):
    """P-, R- and O-Net in float32; see ``cascade.TensorNetworks``.

    Args:
        serving: what is to run them.

    Raises:
        BackendUnavailable: the backend cannot serve here, or does not take tensors.
        ParityRefused: its results are not those of the reference.
        ModelError: a network's file is missing or damaged.
    """

    def __init__(self, serving: Serving) -> None:
        # Which of several nearly equal boxes comes out hangs on the last digits: see ``vision.
        # networks``.
        options = EngineOptions(precision="float32")
        self.engines: dict[str, Engine] = {}
        try:
            self._pnet = self._load("mtcnn_pnet", serving, options)
            self._rnet = self._load("mtcnn_rnet", serving, options)
            self._onet = self._load("mtcnn_onet", serving, options)
        except BaseException:
            self.close()
            raise
        self.device = self._pnet.torch_device
        self.backend = self.engines["mtcnn_pnet"].backend

    def pnet(self, pictures: Tensor) -> Tensor:
        """Maps B×5×h×w of pictures B×3×H×W."""
        return self._pnet.run_tensors({"image": pictures})["maps"]

    def rnet(self, crops: Tensor) -> Tensor:
        """Heads N×5 of crops N×3×24×24."""
        return self._rnet.run_tensors({"crops": crops})["heads"]

    def onet(self, crops: Tensor) -> Tensor:
        """Heads N×15 of crops N×3×48×48."""
        return self._onet.run_tensors({"crops": crops})["heads"]

    def close(self) -> None:
        """Free the networks."""
        for engine in self.engines.values():
            engine.close()

    def _load(self, name: Network, serving: Serving, options: EngineOptions) -> OnTensors:
        engine = serve(model_path(name), serving=serving, options=options, gate=NetworkGate(name))
        self.engines[name] = engine
        if not isinstance(engine, OnTensors):
            raise BackendUnavailable(
                f"{name} on {engine.backend} does not take tensors of a device; use backend='torch'"
            )
        return engine
