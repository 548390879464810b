"""The losses, each a small pure function of tensors.

Shapes: N examples, D latent dimensions. All return the mean over the batch (and over dimensions
or pixels, so that a weight means the same at any size) unless they say otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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


def masked_mse(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the pixels where the mask is 1.

    Args:
        made: N×C×H×W.
        wanted: the same.
        mask: N×1×H×W, 0 or 1.
    """
    squared = (made - wanted).square() * mask
    return squared.sum() / (mask.sum() * made.shape[1]).clamp_min(1.0)


def cosine_distance(mu: Tensor, target: Tensor) -> Tensor:
    """1 − cosine, between an embedding and the teacher's (both N×D, any length)."""
    return (1.0 - F.cosine_similarity(mu, target, dim=1)).mean()


def direction(embedding: Tensor) -> Tensor:
    """Scale each row of N×D to length √D, where a standard normal's mass lies."""
    scaled: Tensor = F.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
    return scaled


def heteroscedastic_nll(
    mu: Tensor,
    logvar: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    floor: float = 0.0,
) -> Tensor:
    """Gaussian negative log-likelihood of the target, without its constant.

    ½ ((target − mu)² / sigma² + log sigma²): what teaches sigma to be the size of the error that
    must be expected (Kendall and Gal 2017; Shi and Jain 2019).

    Args:
        mu: N×D.
        logvar: N×D, log of sigma².
        target: N×D.
        weight: N, of each example; all 1 when not given.
        floor: variance added to every squared error: what the target itself may be off by.
    """
    squared = (target - mu).square() + floor
    rows = 0.5 * (squared * torch.exp(-logvar) + logvar).mean(dim=1)
    if weight is None:
        return rows.mean()
    return (rows * weight).sum() / weight.sum().clamp_min(1.0)
