"""The trunk for training, in two parts: a frozen front, run fast, and a tail with gradients.

On a CPU the front runs in the engine that will serve it (OpenVINO: several times torch's speed);
elsewhere in torch without gradients. A frozen front makes training several times cheaper where a
trunk starts from a teacher: only its later layers must learn to see degraded pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from torch import Tensor, nn

from ..errors import TrainingError
from ..export.graph import to_onnx
from ..models.backbones import INPUT_SIZE, Backbone, Mobile
from ..models.vae import VaeEncoder, evaluating, stage_means
from .config import FitConfig

# N×3×112×112 float RGB 0..255 to (a map N×C×S×S, means of the stages passed N×M), float32.
Front = Callable[[Tensor], tuple[Tensor, Tensor]]


class _Front(nn.Module):
    """Normalisation and the first ``blocks`` blocks of a ``Mobile`` trunk."""

    def __init__(self, backbone: Mobile, blocks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone.stem(VaeEncoder.normalise(faces))
        maps = []
        for i in range(self.blocks):
            x = self.backbone.blocks[i](x)
            if i in self.backbone.TAPS:
                maps.append(x)
        return x, stage_means(maps) if maps else x.new_zeros(len(x), 0)


class _Tail(nn.Module):
    """The rest of a ``Mobile`` trunk: a map and the means so far to the last map and all means."""

    def __init__(self, backbone: Mobile, first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([*backbone.blocks][first:])
        self.taps = [tap - first for tap in backbone.TAPS]

    def forward(self, x: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        parts = [means]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                parts.append(x.float().mean(dim=(2, 3)))
        return x, torch.cat(parts, dim=1)


class TrunkFeatures(nn.Module):
    """Normalisation, a whole trunk and the means of its stages."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, faces: Tensor, _: Tensor | None = None) -> tuple[Tensor, Tensor]:
        maps = self.backbone(VaeEncoder.normalise(faces))
        return maps[-1], stage_means(maps)


class _Identity(nn.Module):
    """No tail: the front was the whole trunk."""

    def forward(self, x: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        return x, means


@dataclass(frozen=True, slots=True, eq=False)
class SplitTrunk:
    """A trunk in two.

    Attributes:
        front: faces (N×3×112×112, RGB 0..255) to a map and the means of the stages passed; frozen.
        tail: those two to the last map and the means of all stages; trained, on the device.
    """

    front: Front
    tail: nn.Module

    def __call__(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """The last map and the means of all stages."""
        last, means = self.tail(*self.front(faces))
        return last, means


def split_trunk(backbone: Backbone, config: FitConfig, device: torch.device) -> SplitTrunk:
    """The trunk as the settings want it: all frozen, the last blocks trained, or all of it.

    Raises:
        TrainingError: ``trunk = "tail"`` with a backbone that cannot be cut.
    """
    if config.trunk == "trained":
        return SplitTrunk(
            lambda faces: (faces, faces.new_zeros(len(faces), 0)), TrunkFeatures(backbone)
        )
    if config.trunk == "frozen":
        features = TrunkFeatures(backbone)
        return SplitTrunk(frozen(features, device, threads=config.threads), _Identity())
    if not isinstance(backbone, Mobile):
        raise TrainingError(
            f"only the 'mobile' trunk can be trained in part; use trunk=trained or trunk=frozen "
            f"with '{config.backbone}'"
        )
    first = max(0, len(backbone.blocks) - config.tail)
    front = frozen(_Front(backbone, first), device, threads=config.threads)
    return SplitTrunk(front, _Tail(backbone, first))


def frozen(features: nn.Module, device: torch.device, *, threads: int) -> Front:
    """A part that does not change any more, run as fast as the device can.

    Args:
        features: N×3×112×112 to two tensors.
        device: where it runs; on the CPU it is exported to the engine that serves it.
    """
    features = features.eval()
    return _in_engine(features, threads) if device.type == "cpu" else _in_torch(features, device)


def _in_torch(features: nn.Module, device: torch.device) -> Front:
    def run(faces: Tensor) -> tuple[Tensor, Tensor]:
        with evaluating(features), torch.no_grad():
            last, means = features(faces.to(device))
        return last.float(), means.float()

    return run


def _in_engine(features: nn.Module, threads: int) -> Front:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trunk.onnx"
        example = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
        model = to_onnx(features, example, inputs=("faces",), outputs=("last", "means"))
        file.write_bytes(model.SerializeToString())
        engine = load_engine(file, options=EngineOptions(threads=threads))

    def run(faces: Tensor) -> tuple[Tensor, Tensor]:
        # 16 at a time: larger batches fall out of the cache and gain nothing.
        parts = [
            engine.infer({"faces": part.float().numpy()})
            for part in torch.tensor_split(faces, max(1, len(faces) // 16))
        ]
        return (
            torch.from_numpy(np.concatenate([part["last"] for part in parts])),
            torch.from_numpy(np.concatenate([part["means"] for part in parts])),
        )

    return run
