"""Appearance, the part of a face that is not identity: pose, light, expression, background.

The identity half of the generator's code comes from the recogniser. The other half is read from
the picture by a small network of its own, not from the recogniser's trunk: it then fits every
recogniser that gives the same kind of embedding, costs a tenth of the trunk, and takes a mask of
missing pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decoder import GENERATOR_WIDTHS, LINEAR_SIZE, Decoder
from .vae import LATENT_DIM, LOGVAR_RANGE, reparameterise

APPEARANCE_DIM: Final = 128
APPEARANCE_WIDTHS: Final = (32, 64, 96, 128)


class AppearanceEncoder(nn.Module):
    """Pictures, perhaps with holes, and whose they are, to the appearance's mean and log variance.

    A linear map of the picture at half size and of the identity, which can start from principal
    components, plus small convolutions.

    Args:
        identity: D, the length of the identity.
        dim: A, the length of the appearance code.
        widths: channels of the 56×56, 28×28, 14×14 and 7×7 maps.
    """

    def __init__(
        self,
        *,
        identity: int = LATENT_DIM,
        dim: int = APPEARANCE_DIM,
        widths: tuple[int, ...] = APPEARANCE_WIDTHS,
    ) -> None:
        super().__init__()
        self.dim = dim
        layers: list[nn.Module] = []
        for before, after in pairwise((4, *widths)):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.1),
            ]
        self.layers = nn.Sequential(*layers)
        self.dense = nn.Linear(widths[-1] * 7 * 7, 2 * dim)
        self.linear = nn.Linear(3 * LINEAR_SIZE**2 + identity, dim, bias=False)

    def forward(self, picture: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar, both N×A.

        Args:
            picture: N×4×112×112: RGB in −1..1, 0 where a pixel is missing, and as the fourth
                channel 1 where it is known (``with_holes``).
            identity: N×D, ``direction(mu)`` of the recogniser.
        """
        small = F.avg_pool2d(picture[:, :3], 2).flatten(1)
        bent, logvar = self.dense(self.layers(picture).flatten(1)).chunk(2, dim=1)
        mu = self.linear(torch.cat([small, identity], dim=1)) + bent
        return mu, logvar.clamp(*LOGVAR_RANGE)


def with_holes(picture: Tensor, known: Tensor) -> Tensor:
    """The appearance encoder's input: the known pixels, and which they are.

    Args:
        picture: N×3×112×112, −1..1.
        known: N×1×112×112, 1 where a pixel is known, 0 in a hole.
    """
    return torch.cat([picture * known, known], dim=1)


class FaceGenerator(nn.Module):
    """The generator: z = [identity | appearance] to a face, and a face to its appearance.

    The identity half is ``direction(mu)`` of the recogniser (length √D), perhaps with noise; it is
    given, not learned here.
    """

    def __init__(
        self,
        *,
        identity: int = LATENT_DIM,
        appearance: int = APPEARANCE_DIM,
        widths: tuple[int, int, int, int] = GENERATOR_WIDTHS,
    ) -> None:
        super().__init__()
        self.identity_dim = identity
        self.appearance = AppearanceEncoder(identity=identity, dim=appearance)
        self.decoder = Decoder(dim=identity + appearance, widths=widths, linear="added")

    def decode(self, identity: Tensor, appearance: Tensor) -> Tensor:
        """N×3×112×112 RGB in −1..1 from N×D and N×A."""
        made: Tensor = self.decoder(torch.cat([identity, appearance], dim=1))
        return made

    def forward(
        self, picture: Tensor, known: Tensor, identity: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, and mu and logvar of the appearance."""
        mu, logvar = self.appearance(with_holes(picture, known), identity)
        return self.decode(identity, reparameterise(mu, logvar)), mu, logvar
