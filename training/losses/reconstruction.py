"""Losses between a picture and what the decoder made of its code.

Shapes: N examples, C channels, H×W pixels, values −1..1 (the decoder ends in a tanh). All return
the mean over the pixels where the mask is 1, so that a weight means the same at any size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp_min(1.0)


def masked_mse(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the pixels where the mask is 1.

    Args:
        made: N×C×H×W.
        wanted: the same.
        mask: N×1×H×W, 0 or 1.
    """
    return _masked_mean((made - wanted).square(), mask)


def masked_bce(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy, each channel of each pixel a probability of being bright; nats.

    −1..1 is read as 0..1. Its least value is not 0 but the entropy of the picture itself.

    Args:
        made: N×C×H×W, −1..1.
        wanted: the same.
        mask: N×1×H×W, 0 or 1.
    """
    with torch.autocast(device_type=made.device.type, enabled=False):
        # At exactly 0 or 1 the logarithm has no value; 1e-6 is far below one grey level.
        probability = (0.5 * (made.float() + 1.0)).clamp(1e-6, 1.0 - 1e-6)
        rows = F.binary_cross_entropy(probability, 0.5 * (wanted.float() + 1.0), reduction="none")
        return _masked_mean(rows, mask)


def masked_gaussian_nll(made: Tensor, wanted: Tensor, mask: Tensor, logvar: Tensor) -> Tensor:
    """Negative log-likelihood of the picture under N(made, sigma²), nats a value.

    ½ ((wanted − made)² / sigma² + log sigma² + log 2π). With one learned logvar for all it sets
    the balance between reconstruction and KL by itself (Rybkin et al. 2021).

    Args:
        made: N×C×H×W.
        wanted: the same.
        mask: N×1×H×W, 0 or 1.
        logvar: log of sigma²: a scalar, or anything that broadcasts to N×C×H×W.
    """
    squared = (wanted - made).square()
    rows = 0.5 * (squared * torch.exp(-logvar) + logvar + math.log(2.0 * math.pi))
    return _masked_mean(rows, mask)
