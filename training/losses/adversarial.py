"""Losses of a generator against a discriminator, and between the features of the latter.

Logits are N, one a picture, positive for "real"; features are lists of N×C×H×W maps. All return
the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_bce(real: Tensor, made: Tensor) -> Tensor:
    """−log D(real) − log(1 − D(made)): Goodfellow et al. 2014, from logits."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


def generator_bce(made: Tensor) -> Tensor:
    """−log D(made): the form that does not saturate when the discriminator is sure."""
    return F.softplus(-made).mean()


def feature_matching(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the discriminator's features, averaged over the maps given.

    Replaces the pixels' squared error in a VAE-GAN (Larsen et al. 2016, equation 5). The features
    of the real picture pass no gradient.

    Raises:
        ValueError: different numbers of maps, or none.
    """
    if len(made) != len(wanted) or not made:
        raise ValueError(f"{len(made)} maps cannot be matched with {len(wanted)}")
    terms = [F.mse_loss(a, b.detach()) for a, b in zip(made, wanted, strict=True)]
    return torch.stack(terms).mean()
