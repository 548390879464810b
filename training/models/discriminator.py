"""The discriminator: is a face real or generated? It also gives its feature maps."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

DISCRIMINATOR_WIDTHS: Final = (32, 64, 128, 256)


class Discriminator(nn.Module):
    """N×3×112×112 RGB in −1..1 to a logit a picture and the feature maps on the way.

    Four convolutions of stride 2 (0.08 GMAC, 0.7 M parameters) and a dense layer, all with
    spectral norm (Miyato et al. 2018): no batch norm, which would let pictures of a batch give
    each other away. Small on purpose, so that a generator can be trained on a CPU.

    Attributes:
        widths: channels of the feature maps, 56², 28², 14² and 7² pixels.
    """

    def __init__(self, *, widths: tuple[int, int, int, int] = DISCRIMINATOR_WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        self.stages = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)
            )
            for before, after in pairwise((3, *widths))
        )
        self.out = spectral_norm(nn.Linear(widths[-1] * 7 * 7, 1))

    def forward(self, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits N (positive: real) and the maps of the four stages, N×C×H×W each."""
        maps = []
        x = faces
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        logits: Tensor = self.out(x.flatten(1))[:, 0]
        return logits, maps
