"""Runs the trunk for training: with gradients in torch, or frozen and fast.

On a CPU a frozen trunk runs in the engine that will serve it (OpenVINO: several times torch's
speed); elsewhere in torch without gradients. Either way its answer is the last feature map and
the mean of each stage, all that the heads look at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from torch import Tensor, nn

from ..export.graph import to_onnx
from ..models.backbones import INPUT_SIZE, Backbone
from ..models.vae import VaeEncoder, stage_means

# N×3×112×112 float RGB 0..255 to (last map N×C×S×S, means of the stages N×M), float32.
TrunkRun = Callable[[Tensor], tuple[Tensor, Tensor]]


class TrunkFeatures(nn.Module):
    """Normalisation, trunk and the means of its stages."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.backbone(VaeEncoder.normalise(faces))
        return maps[-1], stage_means(maps)


def torch_trunk(backbone: Backbone) -> TrunkRun:
    """The trunk as it is at each call, in torch, without gradients, batch norms in evaluation."""
    features = TrunkFeatures(backbone)

    def in_torch(faces: Tensor) -> tuple[Tensor, Tensor]:
        device = next(backbone.parameters()).device
        modes = [(module, module.training) for module in backbone.modules()]
        features.eval()
        with torch.no_grad():
            last, means = features(faces.to(device))
        for module, mode in modes:
            module.training = mode
        return last.float(), means.float()

    return in_torch


def frozen_trunk(backbone: Backbone, device: torch.device, *, threads: int) -> TrunkRun:
    """A trunk that does not change any more, run as fast as the device can."""
    if device.type != "cpu":
        return torch_trunk(backbone)
    features = TrunkFeatures(backbone).eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trunk.onnx"
        example = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
        model = to_onnx(features, example, inputs=("faces",), outputs=("last", "means"))
        file.write_bytes(model.SerializeToString())
        engine = load_engine(file, options=EngineOptions(threads=threads, static_shapes=True))

    def in_engine(faces: Tensor) -> tuple[Tensor, Tensor]:
        # 16 at a time: larger batches fall out of the cache and gain nothing.
        parts = [
            engine.infer({"faces": part.float().numpy()})
            for part in torch.tensor_split(faces, max(1, len(faces) // 16))
        ]
        return (
            torch.from_numpy(np.concatenate([part["last"] for part in parts])),
            torch.from_numpy(np.concatenate([part["means"] for part in parts])),
        )

    return in_engine
