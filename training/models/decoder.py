"""The decoder: a latent code to a face, by upsampling and convolution."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal

from torch import Tensor, nn
from torch.nn import functional as F

DECODER_WIDTHS: Final = (128, 96, 64, 32)
# The generator's: narrower where pixels are many, for it has a linear part to add to.
GENERATOR_WIDTHS: Final = (128, 96, 48, 24)
LINEAR_SIZE: Final = 56


class Decoder(nn.Module):
    """N×D latent codes to N×3×112×112 RGB in −1..1.

    A dense layer makes a 7×7 map; nearest-neighbour upsampling and a convolution (no transposed
    convolutions: they leave a checkerboard) take it to 56×56; the last factor of two is a pixel
    shuffle, a quarter of the cost of convolving at full size.

    Args:
        dim: D.
        widths: channels of the 7×7, 14×14, 28×28 and 56×56 maps.
        linear: ``added`` adds a linear map of the code to a 56×56 picture, enlarged. It costs
            next to nothing, can start from principal components, and leaves to the convolutions
            what is not linear. Its pictures are cut to −1..1 in evaluation only: a tanh would
            bend the linear part, a cut in training would stop its gradient.
    """

    def __init__(
        self,
        *,
        dim: int,
        widths: tuple[int, int, int, int] = DECODER_WIDTHS,
        linear: Literal["none", "added"] = "none",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.start_channels = widths[0]
        self.dense = nn.Linear(dim, widths[0] * 7 * 7)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(0.1)]
        for before, after in pairwise(widths):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.1),
            ]
        layers += [nn.Conv2d(widths[-1], 12, 3, padding=1), nn.PixelShuffle(2)]
        self.linear: nn.Linear | None = None
        if linear == "added":
            self.linear = nn.Linear(dim, 3 * LINEAR_SIZE**2)
        else:
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        x = self.dense(z).unflatten(1, (self.start_channels, 7, 7))
        out: Tensor = self.layers(x)
        if self.linear is None:
            return out
        small = self.linear(z).unflatten(1, (3, LINEAR_SIZE, LINEAR_SIZE))
        large = F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)
        out = out + large
        return out if self.training else out.clamp(-1.0, 1.0)
