"""A discriminator beside a task: the losses against it, and its own step."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ..losses.adversarial import discriminator_bce, feature_matching, generator_bce
from ..models.discriminator import Discriminator
from .guards import check_finite
from .optimise import update


def adversarial_losses(
    rival: Discriminator, made: Tensor, picture: Tensor, *, paired: int
) -> tuple[Tensor, Tensor]:
    """The loss of being recognised as made, and the distance in the discriminator's features.

    Args:
        made: N×3×112×112; the first ``paired`` are reconstructions of ``picture``.
        picture: real, at least ``paired``.
    """
    rival.requires_grad_(False)
    logits, maps = rival(made)
    with torch.no_grad():
        _, wanted = rival(picture[:paired])
    rival.requires_grad_(True)
    features = feature_matching([m[:paired].float() for m in maps], [m.float() for m in wanted])
    return generator_bce(logits.float()), features


def train_discriminator(
    fabric: Fabric,
    rival: Discriminator,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    made: Tensor,
    step: int,
    *,
    longest: float,
) -> dict[str, float]:
    """One step of the discriminator: its loss, and the share that it classifies right, 0..1."""
    optimizer.zero_grad(set_to_none=True)
    with fabric.autocast():
        logits, _ = rival(torch.cat([real, made.detach().float()]))
    ours, theirs = logits.float()[: len(real)], logits.float()[len(real) :]
    loss = discriminator_bce(ours, theirs)
    check_finite(float(loss.detach()), step)
    fabric.backward(loss)
    update(fabric, optimizer, step, longest=longest)
    caught = ((ours > 0).float().mean() + (theirs < 0).float().mean()) / 2
    return {"discriminator": float(loss.detach()), "caught": float(caught)}
