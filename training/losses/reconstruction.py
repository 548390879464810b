"""Losses between a picture and what the decoder made of its code.

Shapes: N examples, C channels, H×W pixels, values −1..1 (the decoder ends in a tanh).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp_min(1.0)


def masked_mse(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the pixels where the mask (N×1×H×W) is 1."""
    return _masked_mean((made - wanted).square(), mask)


def masked_bce(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the pixels where the mask is 1, nats; a value is a probability.

    −1..1 is read as 0..1. Its least value is not 0 but the entropy of the picture itself.
    """
    with torch.autocast(device_type=made.device.type, enabled=False):
        # At exactly 0 or 1 the logarithm has no value; 1e-6 is far below one grey level.
        probability = (0.5 * (made.float() + 1.0)).clamp(1e-6, 1.0 - 1e-6)
        rows = F.binary_cross_entropy(probability, 0.5 * (wanted.float() + 1.0), reduction="none")
        return _masked_mean(rows, mask)


def perceptual_distance(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Squared distance of features of unit length, averaged over places, then over layers: N.

    LPIPS without its learned weights (Zhang et al. 2018, equation 1): each place's feature vector
    is scaled to length 1 over the channels, so that no layer dominates by its magnitude.

    Args:
        made: features of the pictures made, each N×C×H×W.
        wanted: features of the real ones, the same shapes; no gradient passes.

    Raises:
        ValueError: different numbers of layers, or none.
    """
    if not made or len(made) != len(wanted):
        raise ValueError(f"{len(made)} and {len(wanted)} layers do not match")
    terms = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1))
        .square()
        .sum(dim=1)
        .mean(dim=(1, 2))
        for a, b in zip(made, wanted, strict=True)
    ]
    return torch.stack(terms).mean(dim=0)
