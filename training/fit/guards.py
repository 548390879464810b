"""Stops a run that has gone wrong, with the reason and a way out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from ..errors import CollapseError
from ..losses.latent import kl_per_dimension

MIN_ACTIVE: Final = 0.1
ACTIVE_NATS: Final = 0.01
MIN_SPREAD: Final = 0.01


@dataclass(frozen=True, slots=True)
class LatentHealth:
    """How alive the latent code is in a batch.

    Attributes:
        kl: mean KL of a dimension, nats.
        active: share of dimensions whose mean KL is above 0.01 nats, 0..1.
        sigma_mean: geometric mean of sigma.
        sigma_spread: standard deviation over the batch of a picture's mean log sigma; near 0 when
            sigma is the same for every picture.
    """

    kl: float
    active: float
    sigma_mean: float
    sigma_spread: float


def latent_health(mu: Tensor, logvar: Tensor) -> LatentHealth:
    """Measure a batch (both N×D)."""
    kl = kl_per_dimension(mu.detach(), logvar.detach()).mean(dim=0)
    log_sigma = 0.5 * logvar.detach().mean(dim=1)
    spread = float(log_sigma.std()) if len(log_sigma) > 1 else math.inf
    return LatentHealth(
        kl=float(kl.mean()),
        active=float((kl > ACTIVE_NATS).float().mean()),
        sigma_mean=float(log_sigma.mean().exp()),
        sigma_spread=spread,
    )


def check_finite(loss: float, step: int) -> None:
    """Refuse a loss that is no number.

    Raises:
        CollapseError: it is infinite or NaN.
    """
    if not math.isfinite(loss):
        raise CollapseError(
            f"the loss is {loss} at step {step}; the last checkpoint is kept: resume it with a "
            "lower --lr, or look for damaged pictures"
        )


def check_alive(health: LatentHealth, step: int, *, warm_up: int) -> None:
    """Refuse a latent code that has died, once the warm-up is over.

    Raises:
        CollapseError: fewer than a tenth of the dimensions say anything, or sigma is the same for
            all pictures.
    """
    if step < warm_up:
        return
    if health.active < MIN_ACTIVE:
        raise CollapseError(
            f"posterior collapse at step {step}: {health.active:.0%} of the dimensions are in use "
            f"(KL {health.kl:.4f} nats); lower the KL's weight, or raise free bits or its warm-up"
        )
    if health.sigma_spread < MIN_SPREAD:
        raise CollapseError(
            f"sigma collapsed at step {step}: it is {health.sigma_mean:.3f} for every picture "
            f"(spread {health.sigma_spread:.4f}); lower the KL's weight or raise the uncertainty's"
        )
