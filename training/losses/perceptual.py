"""A distance in the features of a frozen network: what eyes see, rather than what pixels hold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def perceptual_distance(
    made: Sequence[Tensor], wanted: Sequence[Tensor], *, weights: Sequence[float] | None = None
) -> Tensor:
    """Squared distance of features of unit length, averaged over places, then over layers.

    LPIPS without its learned weights (Zhang et al. 2018, equation 1): each place's feature vector
    is scaled to length 1 over the channels, so that no layer rules by its magnitude. For an
    embedding (N×D) it is 2 · (1 − cosine).

    Args:
        made: features of the pictures made, each N×C×H×W or N×D.
        wanted: features of the real ones, the same shapes; no gradient passes.
        weights: of the layers; all equal when not given.

    Raises:
        ValueError: different numbers of layers or weights, or none.
    """
    shares = [1.0] * len(made) if weights is None else list(weights)
    if not made or len(made) != len(wanted) or len(made) != len(shares):
        raise ValueError(
            f"{len(made)} and {len(wanted)} layers with {len(shares)} weights do not match"
        )
    terms = [
        share
        * (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1))
        .square()
        .sum(dim=1)
        .mean()
        for a, b, share in zip(made, wanted, shares, strict=True)
    ]
    return torch.stack(terms).sum() / sum(shares)
