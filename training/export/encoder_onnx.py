"""Encoder to ONNX: batch norms folded, float16 storage, parity checked before the file is kept."""

from __future__ import annotations

import copy
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval

from ..errors import TrainingError
from ..models.backbones import INPUT_SIZE
from ..models.vae import LOGVAR_RANGE, VaeEncoder, stage_means
from .graph import halve, to_onnx

log = logging.getLogger(__name__)
MIN_COSINE = 0.9995


class _Folded(nn.Module):
    """The encoder for inference, with every batch norm and constant folded into its neighbour."""

    def __init__(self, encoder: VaeEncoder) -> None:
        super().__init__()
        encoder = copy.deepcopy(encoder).eval().float().cpu()
        _fold_convolutions(encoder.backbone)
        self.backbone = encoder.backbone
        self.dense = fold_mu_head(encoder)
        head = encoder.logvar_head
        self.hidden = nn.Linear(head.hidden.in_features, head.hidden.out_features)
        with torch.no_grad():
            self.hidden.weight.copy_(head.hidden.weight * head.scale)
            self.hidden.bias.copy_(head.hidden.bias - self.hidden.weight @ head.centre)
        self.act = head.act
        self.out = head.out

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.backbone(VaeEncoder.normalise(faces))
        mu = self.dense(maps[-1].flatten(1))
        hidden = self.act(self.hidden(torch.cat([stage_means(maps), mu], dim=1)))
        return mu, self.out(hidden).clamp(*LOGVAR_RANGE)


def _fold_convolutions(module: nn.Module) -> None:
    """Fold each batch norm that directly follows a convolution, in place."""
    for child in module.children():
        if isinstance(child, nn.Sequential):
            layers = list(child)
            for i, (first, second) in enumerate(pairwise(layers)):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    child[i] = fuse_conv_bn_eval(first, second)
                    child[i + 1] = nn.Identity()
        _fold_convolutions(child)


def fold_mu_head(encoder: VaeEncoder) -> nn.Linear:
    """Both batch norms of the mu head inside its dense layer."""
    head = encoder.mu_head
    norm = head.norm_in
    if norm.running_mean is None or norm.running_var is None:
        raise TrainingError("the mu head's batch norm has no running statistics")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    area = encoder.backbone.out_size**2
    dense = nn.Linear(head.dense.in_features, head.dense.out_features)
    with torch.no_grad():
        dense.weight.copy_(head.dense.weight * scale.repeat_interleave(area))
        dense.bias.copy_(head.dense.bias + head.dense.weight @ shift.repeat_interleave(area))
    return fuse_linear_bn_eval(dense.eval(), head.norm_out)


def export_encoder(encoder: VaeEncoder, path: Path) -> float:
    """Write the encoder as ONNX and check it.

    The file's input is ``faces`` float32 N×3×112×112, RGB 0..255; its outputs are ``mu`` and
    ``logvar``, N×D float32.

    Returns:
        The smallest cosine between its mu and torch's on a few pictures of noise and gradients.

    Raises:
        TrainingError: the exported network does not agree with torch; no file is left behind.
    """
    folded = _Folded(encoder).eval()
    example = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE) * 255
    partial = path.with_name(f".{path.name}")
    model = to_onnx(folded, example, inputs=("faces",), outputs=("mu", "logvar"))
    halve(model)
    onnx.checker.check_model(model)
    partial.write_bytes(model.SerializeToString())
    cosine = parity(encoder, partial)
    if not cosine >= MIN_COSINE:
        partial.unlink()
        raise TrainingError(
            f"the exported encoder's embeddings differ from torch's (cosine {cosine:.5f}, "
            f"wanted {MIN_COSINE}); nothing was written"
        )
    partial.replace(path)
    log.info("wrote %s (%.1f MB, cosine to torch %.6f)", path, path.stat().st_size / 1e6, cosine)
    return cosine


def parity(encoder: VaeEncoder, path: Path, faces: NDArray[np.float32] | None = None) -> float:
    """Smallest cosine between torch's mu and the file's (run by our engine in float32).

    Args:
        encoder: the network as trained.
        path: the exported file.
        faces: N×3×112×112 RGB 0..255; smooth noise when not given.
    """
    if faces is None:
        coarse = torch.rand(8, 3, 14, 14, generator=torch.Generator().manual_seed(0)) * 255
        faces = nn.functional.interpolate(coarse, INPUT_SIZE, mode="bicubic").clamp(0, 255).numpy()
    with load_engine(path, options=EngineOptions(precision="float32")) as engine:
        ours = engine.infer({"faces": faces})["mu"]
    reference = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        theirs = reference(torch.from_numpy(faces))[0].numpy()
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(np.min(np.sum(ours * theirs, axis=1) / norms))
