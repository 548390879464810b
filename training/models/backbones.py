"""The encoder's trunks: a picture in, feature maps of several stages out.

A trunk maps N×3×112×112 (already normalised, about −1..1) to a list of feature maps. The last one
carries identity; the earlier ones also carry what blur, noise and compression leave behind, and
the log-variance head reads their means.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BackboneName = Literal["mobile", "residual", "conv", "vit"]
INPUT_SIZE: Final = 112


class Backbone(nn.Module):
    """Base of the trunks.

    Attributes:
        stage_channels: channels of each feature map that ``forward`` returns.
        out_size: height and width of the last map.
    """

    stage_channels: tuple[int, ...]
    out_size: int

    def forward(self, faces: Tensor) -> list[Tensor]:
        """Feature maps of the stages, the last one last.

        Args:
            faces: N×3×112×112 float, about −1..1.
        """
        raise NotImplementedError


def conv_bn_prelu(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, PReLU with a slope per channel."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels, eps=1e-3),
        nn.PReLU(out_channels),
    )


class Mobile(Backbone):
    """The plain MobileNetV1 of SFace (0.57 GMAC, 3.2 M parameters without heads).

    Layer for layer the graph of OpenCV Zoo's SFace, so that its weights can be the start
    (``sface.load_sface``).
    """

    # (output channels, stride) of each depthwise-separable block after the first convolution.
    BLOCKS: Final = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )
    # Blocks after which a stage ends: 56², 28², 14² and 7² maps.
    TAPS: Final = (2, 4, 10, 12)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_prelu(3, 32, kernel=3)
        blocks: list[nn.Module] = []
        channels = 32
        for out_channels, stride in self.BLOCKS:
            blocks.append(
                nn.Sequential(
                    conv_bn_prelu(channels, channels, kernel=3, stride=stride, groups=channels),
                    conv_bn_prelu(channels, out_channels, kernel=1),
                )
            )
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.stage_channels = tuple(self.BLOCKS[tap][0] for tap in self.TAPS)
        self.out_size = INPUT_SIZE // 16

    def forward(self, faces: Tensor) -> list[Tensor]:
        maps = []
        x = self.stem(faces)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.TAPS:
                maps.append(x)
        return maps


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn_prelu(in_channels, out_channels, kernel=3, stride=stride),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
        self.act = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.body(x) + self.shortcut(x))
        return out


class Residual(Backbone):
    """A narrow residual net: stem of stride 2, widths 32-64-128-256, blocks 1-2-2-1.

    Dense narrow convolutions suit CPUs better than depthwise ones: about twice the pictures a
    second of ``Mobile``, in training three times.
    """

    WIDTHS: Final = (32, 64, 128, 256)
    DEPTHS: Final = (1, 2, 2, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_prelu(3, self.WIDTHS[0], kernel=3, stride=2)
        stages: list[nn.Module] = []
        channels = self.WIDTHS[0]
        for i, (width, depth) in enumerate(zip(self.WIDTHS, self.DEPTHS, strict=True)):
            stride = 1 if i == 0 else 2
            blocks = [_ResidualBlock(channels, width, stride=stride)]
            blocks += [_ResidualBlock(width, width, stride=1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.stage_channels = self.WIDTHS
        self.out_size = INPUT_SIZE // 16

    def forward(self, faces: Tensor) -> list[Tensor]:
        maps = []
        x = self.stem(faces)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Conv(Backbone):
    """The textbooks' small network: four times convolution 3×3, ReLU, maximum of 2×2.

    0.18 GMAC, 0.4 M parameters.

    No batch norm, no shortcuts: what the other trunks are measured against. The dense layer that
    ends the textbook's network is the mu head.
    """

    WIDTHS: Final = (32, 64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)
            )
            for before, after in pairwise((3, *self.WIDTHS))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                # Without batch norm the start must keep the size of the activations.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.stage_channels = self.WIDTHS
        self.out_size = INPUT_SIZE // 16

    def forward(self, faces: Tensor) -> list[Tensor]:
        maps = []
        x = faces
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _Block(nn.Module):
    """Attention among all patches, then two dense layers, each on normalised tokens and added."""

    def __init__(self, dim: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_dense = nn.LayerNorm(dim)
        self.dense = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """N×T×D to the same."""
        qkv = self.qkv(self.norm_attention(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(seen.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.dense(self.norm_dense(tokens))
        return out


class Vit(Backbone):
    """Patches of 8×8 (196 tokens of 192), six blocks of three heads (0.53 GMAC, 2.3 M parameters).

    The tokens after the patches, after two and four blocks are its stages, as 14×14 maps; the
    last one, normalised, is averaged to 7×7, so that the mu head is no larger than the trunk.
    """

    PATCH: Final = 8
    DIM: Final = 192
    HEADS: Final = 3
    HIDDEN: Final = 576
    BLOCKS: Final = 6
    # Blocks after which a stage ends; before the first, the patches are one.
    TAPS: Final = (1, 3)

    def __init__(self) -> None:
        super().__init__()
        side = INPUT_SIZE // self.PATCH
        self.patches = nn.Conv2d(3, self.DIM, self.PATCH, stride=self.PATCH)
        self.position = nn.Parameter(torch.zeros(1, side * side, self.DIM))
        self.blocks = nn.ModuleList(
            _Block(self.DIM, heads=self.HEADS, hidden=self.HIDDEN) for _ in range(self.BLOCKS)
        )
        self.norm = nn.LayerNorm(self.DIM)
        nn.init.trunc_normal_(self.position, std=0.02)
        self.stage_channels = (self.DIM,) * (len(self.TAPS) + 2)
        self.out_size = side // 2

    def forward(self, faces: Tensor) -> list[Tensor]:
        first = self.patches(faces)
        maps = [first]
        tokens = first.flatten(2).transpose(1, 2) + self.position
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            if i in self.TAPS:
                maps.append(self._as_map(tokens))
        maps.append(F.avg_pool2d(self._as_map(self.norm(tokens)), 2))
        return maps

    def _as_map(self, tokens: Tensor) -> Tensor:
        side = INPUT_SIZE // self.PATCH
        return tokens.transpose(1, 2).reshape(-1, self.DIM, side, side)


_TRUNKS: Final[dict[BackboneName, type[Backbone]]] = {
    "mobile": Mobile,
    "residual": Residual,
    "conv": Conv,
    "vit": Vit,
}


def make_backbone(name: BackboneName) -> Backbone:
    """A trunk by name, with fresh weights.

    Raises:
        ValueError: no trunk of that name.
    """
    if name not in _TRUNKS:
        choices = ", ".join(repr(n) for n in get_args(BackboneName))
        raise ValueError(f"no backbone is called {name!r}; choose one of {choices}")
    return _TRUNKS[name]()
