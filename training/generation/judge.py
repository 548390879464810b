"""The teacher's judgement of made faces, and how to change them: its losses with their gradient.

The identity and perceptual losses need the teacher's gradient with respect to a picture, and only
that. Torch takes 70 ms of a core for it (depthwise convolutions go back slowly); the same written
out as forward convolutions runs in the inference engine in a fifth of that. The teacher is a plain
chain of convolutions, so going back is one convolution with the turned weights for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from ..data.faces import sha256_of
from ..errors import TrainingError
from ..export.encoder import fold_mu_head
from ..export.graph import to_onnx
from ..models.backbones import INPUT_SIZE, Mobile
from ..models.sface import load_sface
from ..models.vae import VaeEncoder, make_vae

# Of the teacher's stages: 56², 28² and 14² maps. The last one is judged by the embedding.
LAYERS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the teacher says of N faces.

    Attributes:
        identity: N, 1 − cosine of the embedding to its target.
        perceptual: N, ``perceptual_distance`` to the real picture in three stages.
        surrogate: a scalar whose gradient is that of the weighted sum of all of them.
    """

    identity: Tensor
    perceptual: Tensor
    surrogate: Tensor


class _Unit(nn.Module):
    """Convolution (batch norm folded) and PReLU, forth and back."""

    def __init__(self, conv: nn.Conv2d, slope: Tensor) -> None:
        super().__init__()
        if conv.bias is None or isinstance(conv.padding, str):
            raise TrainingError("a folded convolution has a bias and a padding in pixels")
        self.conv = conv
        self.stride, self.groups = conv.stride[0], conv.groups
        self.slope = nn.Parameter(slope[None, :, None, None])
        weight = conv.weight.detach()
        if self.groups == 1:
            weight = weight.transpose(0, 1)
        self.turned = nn.Parameter(weight.flip(2, 3).contiguous())
        # Zeros between the values undo a stride of two.
        spaced = torch.zeros(1, 1, 2, 2)
        spaced[:, :, 0, 0] = 1.0
        self.spaced = nn.Parameter(spaced)

    def forth(self, x: Tensor) -> tuple[Tensor, Tensor]:
        before = self.conv(x)
        return torch.where(before > 0, before, before * self.slope), before

    def back(self, gradient: Tensor, before: Tensor) -> Tensor:
        gradient = torch.where(before > 0, gradient, gradient * self.slope)
        if self.stride == 2:
            height, width = gradient.shape[2:]
            wide = F.interpolate(gradient, scale_factor=2.0, mode="nearest")
            gradient = wide * self.spaced.repeat(1, 1, height, width)
        padding = self.turned.shape[2] // 2
        return F.conv2d(gradient, self.turned, padding=padding, groups=self.groups)


def _unit(conv: nn.Module, norm: nn.Module, act: nn.Module) -> _Unit:
    if not (
        isinstance(conv, nn.Conv2d)
        and isinstance(norm, nn.BatchNorm2d)
        and isinstance(act, nn.PReLU)
    ):
        raise TrainingError("the teacher's trunk is not made of convolution, batch norm and PReLU")
    return _Unit(fuse_conv_bn_eval(conv, norm), act.weight.detach())


def _as_unit(module: nn.Module) -> _Unit:
    if not isinstance(module, _Unit):
        raise TypeError(f"{type(module).__name__} is no unit")
    return module


class JudgeGraph(nn.Module):
    """The teacher's losses of made faces and their gradient, without autograd.

    Args:
        teacher: with the ``mobile`` trunk.
    """

    def __init__(self, teacher: VaeEncoder) -> None:
        super().__init__()
        trunk = teacher.eval().backbone
        if not isinstance(trunk, Mobile):
            raise TrainingError("the judge is made for the 'mobile' trunk")
        # Each block is two units of (convolution, batch norm, PReLU).
        units: list[nn.Module] = [trunk.stem]
        units += [unit for block in trunk.blocks for unit in block.children()]
        self.units = nn.ModuleList(_unit(*unit.children()) for unit in units)
        # Unit after which a stage ends: each block has two, behind the stem.
        self.taps = tuple(2 * (tap + 1) for tap in Mobile.TAPS[:LAYERS])
        self.dense = fold_mu_head(teacher)

    def forward(
        self, made: Tensor, real: Tensor, target: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses N and N, and the gradient N×3×112×112 of their weighted sum.

        Args:
            made: N×3×112×112, −1..1. real: the same, what it should look like.
            target: N×D, whose face it should be.
            weights: N×2, of the identity and the perceptual loss.
        """
        scale = 127.5 / 128.0
        count = made.shape[0]
        x = torch.cat([made, real]) * scale
        befores: list[Tensor] = []
        slopes: dict[int, Tensor] = {}
        distances = []
        for i, unit in enumerate(self.units):
            x, before = _as_unit(unit).forth(x)
            befores.append(before[:count])
            if i in self.taps:
                distance, slope = _distance(x[:count], x[count:])
                distances.append(distance)
                slopes[i] = slope * (weights[:, 1] / LAYERS)[:, None, None, None]
        last = x[:count]
        mu = self.dense(last.flatten(1))
        length = mu.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-6)
        unit_mu, unit_target = mu / length, F.normalize(target, dim=1)
        cosine = (unit_mu * unit_target).sum(dim=1, keepdim=True)
        towards = -(unit_target - cosine * unit_mu) / length * weights[:, :1]
        gradient = (towards @ self.dense.weight).reshape(last.shape)
        for i in reversed(range(len(self.units))):
            if i in slopes:
                gradient = gradient + slopes[i]
            gradient = _as_unit(self.units[i]).back(gradient, befores[i])
        perceptual = torch.stack(distances).mean(dim=0)
        return 1.0 - cosine[:, 0], perceptual, gradient * scale


def _distance(made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of unit features, N, and its gradient with respect to ``made``."""
    length = made.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-6)
    a, b = made / length, F.normalize(real, dim=1)
    cosine = (a * b).sum(dim=1, keepdim=True)
    places = made.shape[2] * made.shape[3]
    return (2.0 - 2.0 * cosine).mean(dim=(1, 2, 3)), -2.0 * (b - cosine * a) / length / places


JudgeRun = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Judge:
    """Runs the judgement as fast as the device can.

    Args:
        teacher: SFace's ONNX file.
        device: where the generator is trained.
        threads: CPU threads.
        cache: folder that keeps the graph between runs: it takes a while to write.

    Raises:
        TrainingError: the teacher's file is missing or another network.
    """

    def __init__(self, teacher: Path, device: torch.device, *, threads: int, cache: Path) -> None:
        self.encoder = make_vae("mobile").encoder
        load_sface(self.encoder, teacher)
        self.encoder.eval().requires_grad_(False)
        graph = JudgeGraph(self.encoder).eval().requires_grad_(False)
        self.encoder.to(device)
        self._run: JudgeRun = (
            _in_engine(graph, cache / f"judge_{sha256_of(teacher)[:16]}.onnx", threads=threads)
            if device.type == "cpu"
            else graph.to(device)
        )

    def __call__(self, made: Tensor, real: Tensor, target: Tensor, weights: Tensor) -> Judgement:
        """See ``JudgeGraph.forward``; the weighted sum is averaged over N."""
        with torch.no_grad(), torch.autocast(device_type=made.device.type, enabled=False):
            identity, perceptual, gradient = self._run(
                made.detach().float(), real.float(), target.float(), weights.float()
            )
        return Judgement(identity, perceptual, (made.float() * gradient).sum() / len(made))


def _in_engine(graph: JudgeGraph, file: Path, *, threads: int) -> JudgeRun:
    names = ("made", "real", "target", "weights")
    if not file.is_file():
        picture = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE) - 0.5
        example = (picture, picture.flip(0), torch.randn(2, 128), torch.ones(2, 2))
        model = to_onnx(
            graph, example, inputs=names, outputs=("identity", "perceptual", "gradient")
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}")
        partial.write_bytes(model.SerializeToString())
        partial.replace(file)
    engine = load_engine(file, options=EngineOptions(threads=threads))

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        feeds = {
            name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)
        }
        out = engine.infer(feeds)
        return (
            torch.from_numpy(out["identity"]),
            torch.from_numpy(out["perceptual"]),
            torch.from_numpy(out["gradient"]),
        )

    return run
