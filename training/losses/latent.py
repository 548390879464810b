"""Losses of the latent code: how far the posterior is from the prior.

Shapes: N examples, D latent dimensions. All return the mean over the batch (and over dimensions
or pixels, so that a weight means the same at any size) unless they say otherwise.
"""

from __future__ import annotations

from torch import Tensor


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, sigma²) ‖ N(0, 1)) of each dimension, N×D, in nats.

    ½ (mu² + sigma² − 1 − log sigma²): Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


def kl_loss(mu: Tensor, logvar: Tensor, *, free_bits: float = 0.0) -> Tensor:
    """Mean KL of a dimension, in nats, with a floor below which a dimension is not pressed.

    Args:
        mu: N×D.
        logvar: N×D.
        free_bits: the floor in nats for each dimension's mean over the batch (Kingma et al. 2016).
    """
    return kl_per_dimension(mu, logvar).mean(dim=0).clamp_min(free_bits).mean()


def annealed(weight: float, step: int, warm_up: int) -> float:
    """A weight that rises linearly from 0 over the first ``warm_up`` steps."""
    return weight * min(1.0, step / warm_up) if warm_up > 0 else weight
