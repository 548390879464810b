"""The teacher's judgement of made faces: identity and perceptual losses, through autograd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..losses.reconstruction import perceptual_distance
from ..models.sface import load_sface
from ..models.vae import VaeEncoder, make_vae

# Of the teacher's stages: 56², 28² and 14² maps. The last one is judged by the embedding.
LAYERS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Losses of N faces, with their gradients.

    Attributes:
        identity: N, 1 − cosine of the embedding to its target.
        perceptual: N, ``perceptual_distance`` to the real picture in three stages.
    """

    identity: Tensor
    perceptual: Tensor

    def weighted(self, weights: Tensor) -> Tensor:
        """The mean over N of both losses, weighted by N×2."""
        return (weights * torch.stack([self.identity, self.perceptual], dim=1)).sum(dim=1).mean()


class Judge:
    """SFace in torch, frozen.

    Args:
        device: where the generator is trained.

    Raises:
        TrainingError: the teacher's file is missing or another network.
    """

    def __init__(self, teacher: Path, device: torch.device) -> None:
        self.encoder: VaeEncoder = make_vae("mobile").encoder
        load_sface(self.encoder, teacher)
        self.encoder.eval().requires_grad_(False).to(device)

    def __call__(self, made: Tensor, real: Tensor, target: Tensor) -> Judgement:
        """Judge faces.

        Args:
            made: N×3×112×112, −1..1; the losses' gradients reach it.
            real: the same shape, what it should look like.
            target: N×D, whose face it should be.
        """
        with torch.autocast(device_type=made.device.type, enabled=False):
            with torch.no_grad():
                wanted = self._maps(real)
            seen = self._maps(made)
            mu = self.encoder.mu_head(seen[-1])
            identity = 1.0 - F.cosine_similarity(mu, target.float(), dim=1)
            return Judgement(identity, perceptual_distance(seen[:LAYERS], wanted[:LAYERS]))

    def embed(self, faces: Tensor) -> Tensor:
        """Embeddings N×D of faces N×3×112×112, −1..1."""
        mu: Tensor = self.encoder.mu_head(self._maps(faces)[-1])
        return mu

    def _maps(self, faces: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.encoder.backbone(faces.float() * (127.5 / 128.0))
        return maps
