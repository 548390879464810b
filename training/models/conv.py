"""The trunk ``conv``: the small network of the textbooks, convolution and pooling."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from torch import Tensor, nn

from .trunk import INPUT_SIZE, Backbone


class Conv(Backbone):
    """Four times convolution 3×3, ReLU, maximum of 2×2 (0.18 GMAC, 0.4 M parameters).

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
