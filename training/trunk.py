"""Runs the trunk for training: with gradients in torch, or frozen and fast.

On a CPU a frozen trunk runs in OpenVINO (several times torch's speed); elsewhere in torch without
gradients. Either way its answer is the last feature map and the mean of each stage, all that the
heads look at.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from .backbones import INPUT_SIZE, Backbone
from .vae import VaeEncoder, stage_means

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


def frozen_trunk(backbone: Backbone, device: torch.device, *, threads: int) -> TrunkRun:
    """The trunk without gradients, its batch norms in evaluation mode."""
    features = TrunkFeatures(backbone).eval()
    if device.type != "cpu":

        def in_torch(faces: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                last, means = features(faces)
            return last.float(), means.float()

        return in_torch
    import openvino as ov

    example = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    model = ov.convert_model(features, example_input=example)
    # 16 at a time: larger batches fall out of the cache and gain nothing.
    chunk = 16
    model.reshape({model.inputs[0]: [chunk, 3, INPUT_SIZE, INPUT_SIZE]})
    compiled = ov.Core().compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    )
    request = compiled.create_infer_request()

    def in_openvino(faces: Tensor) -> tuple[Tensor, Tensor]:
        lasts, means = [], []
        for start in range(0, len(faces), chunk):
            part = faces[start : start + chunk].numpy().astype(np.float32)
            short = chunk - len(part)
            if short:
                part = np.concatenate([part, np.zeros((short, *part.shape[1:]), np.float32)])
            request.infer([part])
            keep = chunk - short
            lasts.append(torch.from_numpy(np.array(request.get_output_tensor(0).data[:keep])))
            means.append(torch.from_numpy(np.array(request.get_output_tensor(1).data[:keep])))
        return torch.cat(lasts), torch.cat(means)

    return in_openvino
