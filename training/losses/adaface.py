"""AdaFace: a margin that follows the quality of the picture, told by the embedding's length.

Kim, Jain and Liu 2022. A long embedding (a good picture) is pressed hard where it is difficult; a
short one (a face that nobody could recognise) is not. Shapes as in ``margin``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .margin import labelled_cosines, replace_target

# Lengths outside of these say nothing more about quality.
NORM_RANGE = (1e-3, 100.0)


def norm_quality(norms: Tensor, mean: Tensor, deviation: Tensor, *, spread: float) -> Tensor:
    """Quality of each picture, −1 (poor) to 1 (good): equation 14.

    Args:
        norms: N lengths of the embeddings.
        mean: of such lengths, scalar.
        deviation: their standard deviation, scalar.
        spread: h, the share of the deviation's range that is told apart.
    """
    safe = norms.detach().clamp(*NORM_RANGE)
    return ((safe - mean) / (deviation + 1e-3) * spread).clamp(-1.0, 1.0)


def running_statistics(
    norms: Tensor, mean: Tensor, deviation: Tensor, *, momentum: float = 0.99
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the lengths after one more batch (exponential moving average).

    Args:
        norms: N lengths, N ≥ 2.
        mean: before, scalar.
        deviation: before, scalar.
        momentum: share of what was before.
    """
    safe = norms.detach().float().clamp(*NORM_RANGE)
    return (
        momentum * mean + (1.0 - momentum) * safe.mean(),
        momentum * deviation + (1.0 - momentum) * safe.std(),
    )


def adaface_logits(
    embedding: Tensor,
    centres: Tensor,
    labels: Tensor,
    quality: Tensor,
    *,
    margin: float = 0.4,
    scale: float = 64.0,
) -> Tensor:
    """scale · (cos(θ − margin·q) − margin·(1 + q)) for the own class: equations 15 and 16.

    At q = −1 that is ArcFace's angle, at 0 CosFace's margin, at 1 an angle taken back and twice
    the margin.

    Args:
        embedding: N×D, its length is not used here.
        centres: C×D.
        labels: N int64, 0..C−1.
        quality: q, N, −1..1 (``norm_quality``).
        margin: 0..1.
        scale: of all cosines.

    Returns:
        N×C float32.

    Raises:
        DataError: as ``check_labels``.
    """
    cosine, own = labelled_cosines(embedding, centres, labels)
    with torch.autocast(device_type=embedding.device.type, enabled=False):
        q = quality.detach().float()
        # Short of ±1, where acos has no gradient; the moved angle stays inside 0..π as in the
        # paper's code.
        theta = own.clamp(-1.0 + 1e-6, 1.0 - 1e-6).acos()
        moved = (theta - margin * q).clamp(1e-3, math.pi - 1e-3).cos()
        return scale * replace_target(cosine, labels, moved - margin * (1.0 + q))
