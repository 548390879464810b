"""The margin loss that the settings name."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from ..losses.adaface import adaface_logits, norm_quality
from ..losses.identity import direction
from ..losses.margin import arcface_logits, cosface_logits, margin_loss
from ..losses.uncertain import dul_loss
from ..models.vae import reparameterise
from .config import MarginKind

# Half of the usual scale: the weights start well, and a few thousand people are not many.
SCALE: Final = 32.0
# AdaFace's h: a third of the lengths' deviation is told apart (Kim et al. 2022, section 3.3).
SPREAD: Final = 0.333


def labelled_loss(
    kind: MarginKind,
    mu: Tensor,
    logvar: Tensor,
    centres: Tensor,
    labels: Tensor,
    *,
    noise: Tensor,
) -> Tensor:
    """A margin loss of labelled pictures.

    Args:
        kind: which.
        mu: N×D, as the encoder gives it: AdaFace reads quality from its length, relative to the
            batch's.
        logvar: N×D; only ``dul`` uses and trains it.
        centres: C×D.
        labels: N int64.
        noise: N×D, standard normal, for ``dul``.

    Raises:
        DataError: fewer than two classes, or a label that none has.
    """
    if kind == "dul":
        code = direction(mu)
        sample = reparameterise(code, logvar, noise)
        return dul_loss(sample, code, logvar, centres, labels, scale=SCALE)
    if kind == "adaface":
        length = mu.detach().float().norm(dim=1)
        deviation = length.std(correction=0)
        quality = norm_quality(length, length.mean(), deviation, spread=SPREAD)
        logits = adaface_logits(mu, centres, labels, quality, scale=SCALE)
    elif kind == "arcface":
        logits = arcface_logits(mu, centres, labels, scale=SCALE)
    else:
        logits = cosface_logits(mu, centres, labels, scale=SCALE)
    return margin_loss(logits, labels)
