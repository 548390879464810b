"""The decoder: a latent code to a face, by upsampling and convolution."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from torch import Tensor, nn

# Beside the recogniser, where the decoder only helps; and the generator's, which has more to say
# where it is cheap.
DECODER_WIDTHS: Final = (128, 96, 64, 32)
GENERATOR_WIDTHS: Final = (160, 112, 64, 32)


class Refine(nn.Module):
    """A residual convolution at one resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Decoder(nn.Module):
    """N×D latent codes to N×3×112×112 RGB in −1..1.

    A dense layer makes a 7×7 map; nearest-neighbour upsampling and a convolution (no transposed
    convolutions: they leave a checkerboard) take it to 56×56; the last factor of two is a pixel
    shuffle, a quarter of the cost of convolving at full size.

    Args:
        dim: D.
        widths: channels of the 7×7, 14×14, 28×28 and 56×56 maps.
        refine: residual convolutions on the 7×7 map, where they cost next to nothing.
    """

    def __init__(
        self,
        *,
        dim: int,
        widths: tuple[int, int, int, int] = DECODER_WIDTHS,
        refine: int = 0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.start_channels = widths[0]
        self.dense = nn.Linear(dim, widths[0] * 7 * 7)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(0.1)]
        layers += [Refine(widths[0]) for _ in range(refine)]
        for before, after in pairwise(widths):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.1),
            ]
        layers += [nn.Conv2d(widths[-1], 12, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        x = self.dense(z).unflatten(1, (self.start_channels, 7, 7))
        out: Tensor = self.layers(x)
        return out
