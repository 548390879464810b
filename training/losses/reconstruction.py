"""Losses between a picture and what the decoder made of its code.

Shapes: N examples, D latent dimensions. All return the mean over the batch (and over dimensions
or pixels, so that a weight means the same at any size) unless they say otherwise.
"""

from __future__ import annotations

from torch import Tensor


def masked_mse(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the pixels where the mask is 1.

    Args:
        made: N×C×H×W.
        wanted: the same.
        mask: N×1×H×W, 0 or 1.
    """
    squared = (made - wanted).square() * mask
    return squared.sum() / (mask.sum() * made.shape[1]).clamp_min(1.0)
