"""Losses that teach who a face is and how sure one can be: distillation and its likelihood.

Shapes: N examples, D latent dimensions. All return the mean over the batch (and over dimensions
or pixels, so that a weight means the same at any size) unless they say otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_distance(mu: Tensor, target: Tensor) -> Tensor:
    """1 − cosine, between an embedding and the teacher's (both N×D, any length)."""
    return (1.0 - F.cosine_similarity(mu, target, dim=1)).mean()


def direction(embedding: Tensor) -> Tensor:
    """Scale each row of N×D to length √D, where a standard normal's mass lies."""
    scaled: Tensor = F.normalize(embedding, dim=1) * embedding.shape[1] ** 0.5
    return scaled


def heteroscedastic_nll(
    mu: Tensor, logvar: Tensor, target: Tensor, *, weight: Tensor | None = None, floor: float = 0.0
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
