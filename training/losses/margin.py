"""Margin losses: a class is a direction, and a face must lie nearer to its own by a margin.

Each ``*_logits`` gives what ``margin_loss`` turns into a loss. Centres are a plain tensor (C×D,
any length), a parameter of whoever trains. All is computed in float32, whatever autocast says:
in bfloat16 two cosines near 1 are one number, and the scale makes 0.25 of what is lost.

A class with one picture is allowed. Where its centre starts as that picture's own embedding the
cosine is exactly 1; the angle is therefore never taken by acos, whose gradient there is infinite
(pytorch-metric-learning's ArcFaceLoss answers NaN).

Shapes: N examples, D latent dimensions, C classes. Examples without a label are the caller's to
leave out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import DataError


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


def class_cosines(embedding: Tensor, centres: Tensor) -> Tensor:
    """Cosine of each embedding (N×D) to each centre (C×D), N×C float32."""
    with torch.autocast(device_type=embedding.device.type, enabled=False):
        unit = F.normalize(embedding.float(), dim=1)
        return unit @ F.normalize(centres.float(), dim=1).T


def replace_target(cosine: Tensor, labels: Tensor, value: Tensor) -> Tensor:
    """The cosines N×C with each row's own class set to ``value`` (N)."""
    return cosine.scatter(1, labels[:, None], value[:, None])


def labelled_cosines(embedding: Tensor, centres: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines to all centres, N×C, and of each row to its own, N.

    Raises:
        DataError: as ``check_labels``.
    """
    check_labels(labels, len(centres))
    cosine = class_cosines(embedding, centres)
    return cosine, own_cosine(cosine, labels)


def own_cosine(cosine: Tensor, labels: Tensor) -> Tensor:
    """Cosine of each row to its own class, N."""
    return cosine.gather(1, labels[:, None])[:, 0]


def cosface_logits(
    embedding: Tensor, centres: Tensor, labels: Tensor, *, margin: float = 0.35, scale: float = 64.0
) -> Tensor:
    """CosFace: scale · (cos θ − margin) for the own class, scale · cos θ for the others.

    Wang et al. 2018, equation 4.

    Args:
        embedding: N×D.
        centres: C×D.
        labels: N int64, 0..C−1.
        margin: taken off the own class's cosine.
        scale: of all cosines.

    Returns:
        N×C float32.

    Raises:
        DataError: as ``check_labels``.
    """
    cosine, own = labelled_cosines(embedding, centres, labels)
    return scale * replace_target(cosine, labels, own - margin)


def arcface_logits(
    embedding: Tensor, centres: Tensor, labels: Tensor, *, margin: float = 0.5, scale: float = 64.0
) -> Tensor:
    """ArcFace: scale · cos(θ + margin) for the own class, scale · cos θ for the others.

    Deng et al. 2019, equation 3. Where θ + margin would pass π the value goes on as
    cos θ − margin · sin margin, so that it always falls with the angle.

    Args:
        embedding: N×D.
        centres: C×D.
        labels: N int64, 0..C−1.
        margin: added to the angle of the own class, radians, 0..π.
        scale: of all cosines.

    Returns:
        N×C float32.

    Raises:
        DataError: as ``check_labels``.
    """
    cosine, own = labelled_cosines(embedding, centres, labels)
    moved = rotate(own, margin)
    beyond = own < -math.cos(margin)
    return scale * replace_target(
        cosine, labels, torch.where(beyond, own - margin * math.sin(margin), moved)
    )


def rotate(cosine: Tensor, angle: Tensor | float) -> Tensor:
    """cos(θ + angle) from cos θ, θ in 0..π, without acos and with a finite gradient everywhere."""
    turn = torch.as_tensor(angle, dtype=cosine.dtype, device=cosine.device)
    sine = (1.0 - cosine.square()).clamp_min(1e-6).sqrt()
    return cosine * turn.cos() - sine * turn.sin()


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits N×C; 0 where N is 0 (a batch without labelled pictures)."""
    if len(labels) == 0:
        return logits.sum()
    return F.cross_entropy(logits, labels)
