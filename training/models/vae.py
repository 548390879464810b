"""The variational autoencoder: trunk, mu and log-variance heads, and the one place that samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from .backbones import Backbone, BackboneName, make_backbone
from .decoder import Decoder

LATENT_DIM: Final = 128
# exp(−8/2) = 0.018 and exp(4/2) = 7.4: far outside of a healthy head's range, so that the
# clamp only ever stops an overflow and never shapes the result.
LOGVAR_RANGE: Final = (-8.0, 4.0)


def reparameterise(mu: Tensor, logvar: Tensor, noise: Tensor | None = None) -> Tensor:
    """z = mu + eps·sigma with eps from a standard normal.

    Args:
        mu: N×D.
        logvar: N×D, log of sigma².
        noise: eps, N×D; drawn when not given.
    """
    eps = torch.randn_like(mu) if noise is None else noise
    return mu + eps * torch.exp(0.5 * logvar)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each part's own mode is restored: frozen batch norms stay so."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def stage_means(maps: list[Tensor]) -> Tensor:
    """The mean of each channel of each stage, N×(channels of all stages)."""
    return torch.cat([m.mean(dim=(2, 3)) for m in maps], dim=1)


class MuHead(nn.Module):
    """Batch norm, dense layer over the whole last map, batch norm: N×C×S×S to N×D."""

    def __init__(self, channels: int, size: int, dim: int = LATENT_DIM) -> None:
        super().__init__()
        self.norm_in = nn.BatchNorm2d(channels, eps=2e-5)
        self.dense = nn.Linear(channels * size * size, dim)
        self.norm_out = nn.BatchNorm1d(dim, eps=2e-5)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.norm_out(self.dense(self.norm_in(features).flatten(1)))
        return out


class LogvarHead(nn.Module):
    """Log variance from the mean activation of each stage and from mu itself.

    Means of the early stages see blur, noise and compression; the last ones and mu see pose and
    occlusion. Two small dense layers on some two thousand numbers: nearly free beside the trunk.
    The statistics are standardised by buffers (``calibrate``), which an export folds away.
    """

    def __init__(self, stage_channels: tuple[int, ...], dim: int, *, hidden: int = 96) -> None:
        super().__init__()
        inputs = sum(stage_channels) + dim
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, hidden)
        self.act = nn.PReLU(hidden)
        self.out = nn.Linear(hidden, dim)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.constant_(self.out.bias, -1.0)

    @torch.no_grad()
    def calibrate(self, statistics: Tensor) -> None:
        """Standardise the inputs to these examples (M×inputs)."""
        self.centre.copy_(statistics.mean(dim=0))
        self.scale.copy_(1.0 / statistics.std(dim=0).clamp_min(1e-4))

    def forward(self, statistics: Tensor) -> Tensor:
        x = (statistics - self.centre) * self.scale
        logvar: Tensor = self.out(self.act(self.hidden(x)))
        return logvar.clamp(*LOGVAR_RANGE)


class VaeEncoder(nn.Module):
    """Faces to the mean and log variance of their latent code.

    ``forward`` takes N×3×112×112 RGB in 0..255 (the picture's own range: normalisation is part of
    the graph) and returns mu N×D and logvar N×D. mu is the embedding, not normalised.
    """

    def __init__(self, backbone: Backbone, *, dim: int = LATENT_DIM) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.mu_head = MuHead(backbone.stage_channels[-1], backbone.out_size, dim)
        self.logvar_head = LogvarHead(backbone.stage_channels, dim)

    @staticmethod
    def normalise(faces: Tensor) -> Tensor:
        """0..255 to about −1..1, as SFace does it."""
        return (faces - 127.5) * (1.0 / 128.0)

    def heads(self, last: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar from what the trunk gives.

        The log-variance head reads mu but does not train it: uncertainty must not fall by
        changing the identity.

        Args:
            last: N×C×S×S, the last feature map.
            means: N×(channels of all stages), the mean of each channel (``stage_means``).
        """
        mu = self.mu_head(last)
        return mu, self.logvar_head(torch.cat([means, mu.detach()], dim=1))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.backbone(self.normalise(faces))
        return self.heads(maps[-1], stage_means(maps))


class Vae(nn.Module):
    """Encoder, sampling and decoder."""

    def __init__(self, encoder: VaeEncoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction (N×3×112×112, −1..1), mu and logvar of faces (RGB 0..255)."""
        mu, logvar = self.encoder(faces)
        return self.decoder(reparameterise(mu, logvar)), mu, logvar


def make_vae(backbone: BackboneName, *, dim: int = LATENT_DIM) -> Vae:
    """A model by the name of its trunk, with fresh weights."""
    return Vae(VaeEncoder(make_backbone(backbone), dim=dim), Decoder(dim=dim))
