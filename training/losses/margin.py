"""Margin losses: a class is a direction, and a face must lie nearer to its own by a margin.

Each ``*_logits`` gives what ``margin_loss`` turns into a loss. Centres are a plain tensor (C×D,
any length), a parameter of the task. All is computed in float32, also under autocast:
in bfloat16 two cosines near 1 are one number, and the scale makes 0.25 of what is lost.

A class with one picture is allowed. Where its centre starts as that picture's own embedding the
cosine is exactly 1; ArcFace's angle is therefore never taken by acos, whose gradient there is
infinite (pytorch-metric-learning's ArcFaceLoss answers NaN).

Shapes: embedding N×D, centres C×D, labels N int64 in 0..C−1; logits are N×C float32, ``scale``
times the cosine. Examples without a label are the caller's to leave out. All raise DataError as
``check_labels``.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError
from ..models.vae import reparameterise
from .identity import direction
from .latent import kl_loss

MarginKind = Literal["cosface", "arcface", "adaface", "dul"]
# Half of the usual scale: the weights start well, and a few thousand people are not many.
SCALE: Final = 32.0
# AdaFace's h: a third of the lengths' deviation is used (Kim et al. 2022, section 3.3).
SPREAD: Final = 0.333
# Lengths outside of these say nothing more about quality.
NORM_RANGE: Final = (1e-3, 100.0)


def labelled_loss(
    kind: MarginKind, mu: Tensor, logvar: Tensor, centres: Tensor, labels: Tensor, *, noise: Tensor
) -> Tensor:
    """The margin loss that the settings name.

    Args:
        kind: which.
        mu: N×D, as the encoder gives it: AdaFace reads quality from its length, relative to the
            batch's.
        logvar: N×D; only ``dul`` uses and trains it.
        centres: C×D.
        labels: N int64.
        noise: N×D, standard normal, for ``dul``.
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


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that a margin loss cannot be computed for.

    Raises:
        DataError: fewer than two classes, or a label outside 0..classes−1.
    """
    if classes < 2:
        raise DataError(
            f"a margin loss needs pictures of at least 2 people, these are of {classes}; "
            "add people, or train by distillation alone"
        )
    if len(labels) == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"class {low if low < 0 else high} is outside 0..{classes - 1}: labels and class "
            "centres are of different data; leave pictures without a label out"
        )


def _cosines(embedding: Tensor, centres: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines to all centres, N×C, and of each row to its own, N."""
    check_labels(labels, len(centres))
    with torch.autocast(device_type=embedding.device.type, enabled=False):
        unit = F.normalize(embedding.float(), dim=1)
        cosine = unit @ F.normalize(centres.float(), dim=1).T
    return cosine, cosine.gather(1, labels[:, None])[:, 0]


def _with_own(cosine: Tensor, labels: Tensor, value: Tensor) -> Tensor:
    """The cosines N×C with each row's own class set to ``value`` (N)."""
    return cosine.scatter(1, labels[:, None], value[:, None])


def cosface_logits(
    embedding: Tensor, centres: Tensor, labels: Tensor, *, margin: float = 0.35, scale: float = 64.0
) -> Tensor:
    """CosFace: cos θ − margin for the own class (Wang et al. 2018, equation 4)."""
    cosine, own = _cosines(embedding, centres, labels)
    return scale * _with_own(cosine, labels, own - margin)


def arcface_logits(
    embedding: Tensor, centres: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 64.0
) -> Tensor:
    """ArcFace: cos(θ + margin) for the own class (Deng et al. 2019, equation 3); margin in radians.

    Where θ + margin would pass π the value goes on as cos θ − margin · sin margin, so that it
    always falls with the angle.
    """
    cosine, own = _cosines(embedding, centres, labels)
    beyond = own < -math.cos(margin)
    moved = torch.where(beyond, own - margin * math.sin(margin), rotate(own, margin))
    return scale * _with_own(cosine, labels, moved)


def rotate(cosine: Tensor, angle: Tensor | float) -> Tensor:
    """cos(θ + angle) from cos θ, θ in 0..π, without acos and with a finite gradient everywhere."""
    turn = torch.as_tensor(angle, dtype=cosine.dtype, device=cosine.device)
    sine = (1.0 - cosine.square()).clamp_min(1e-6).sqrt()
    return cosine * turn.cos() - sine * turn.sin()


def norm_quality(norms: Tensor, mean: Tensor, deviation: Tensor, *, spread: float) -> Tensor:
    """AdaFace's quality of each picture, −1 (poor) to 1 (good), from embeddings' lengths (N).

    Kim, Jain and Liu 2022, equation 14; ``spread`` is h, the share of the deviation's range that
    is used.
    """
    safe = norms.detach().clamp(*NORM_RANGE)
    return ((safe - mean) / (deviation + 1e-3) * spread).clamp(-1.0, 1.0)


def adaface_logits(
    embedding: Tensor,
    centres: Tensor,
    labels: Tensor,
    quality: Tensor,
    *,
    margin: float = 0.4,
    scale: float = 64.0,
) -> Tensor:
    """AdaFace: cos(θ − margin·q) − margin·(1 + q) for the own class: equations 15 and 16.

    A good picture is pressed hard where it is difficult, a face that nobody could recognise is
    not. At q = −1 that is ArcFace's angle, at 0 CosFace's margin; ``quality`` is q, N, −1..1.
    """
    cosine, own = _cosines(embedding, centres, labels)
    with torch.autocast(device_type=embedding.device.type, enabled=False):
        q = quality.detach().float()
        # Short of ±1, where acos has no gradient; the moved angle stays inside 0..π as in the
        # paper's code.
        theta = own.clamp(-1.0 + 1e-6, 1.0 - 1e-6).acos()
        moved = (theta - margin * q).clamp(1e-3, math.pi - 1e-3).cos()
        return scale * _with_own(cosine, labels, moved - margin * (1.0 + q))


def dul_loss(
    sample: Tensor,
    mu: Tensor,
    logvar: Tensor,
    centres: Tensor,
    labels: Tensor,
    *,
    margin: float = 0.35,
    scale: float = 64.0,
    kl_weight: float = 0.01,
) -> Tensor:
    """DUL: CosFace of mu + eps·sigma, and KL to a standard normal that keeps sigma from 0.

    Chang, Lan, Cheng and Wei 2020, equations 3 to 5: labels teach sigma, too.

    Args:
        sample: N×D, mu + eps·sigma, with its gradients.
        mu: N×D, of a length near √D (``direction``), on which sigma's scale rests.
        logvar: N×D, log of sigma².
        centres: C×D.
        labels: N int64.
        margin: taken off the own class's cosine.
        scale: of all cosines.
        kl_weight: lambda; the mean KL of a dimension counts.
    """
    logits = cosface_logits(sample, centres, labels, margin=margin, scale=scale)
    return margin_loss(logits, labels) + kl_weight * kl_loss(mu, logvar)


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits N×C; 0 where N is 0 (a batch without labelled pictures)."""
    if len(labels) == 0:
        return logits.sum()
    return F.cross_entropy(logits, labels)
