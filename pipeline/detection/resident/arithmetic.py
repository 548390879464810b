"""Arithmetic on boxes as on the CPU: the same operations on float32 in the same order."""

from __future__ import annotations

import torch
from torch import Tensor


def probability(odds: Tensor) -> Tensor:
    """See ``proposals.probability``; the exponential is rounded once."""
    return 1 / (1 + odds.clamp(min=-80).double().neg().exp().float())


def square(boxes: Tensor) -> Tensor:
    """See ``boxes.square``."""
    sides = boxes[:, 2:4] - boxes[:, 0:2]
    longest = sides.amax(dim=1, keepdim=True)
    corner = boxes[:, 0:2] + sides * 0.5 - longest * 0.5
    return torch.cat([corner, corner + longest], dim=1)


def move(boxes: Tensor, offsets: Tensor, *, inclusive: int) -> Tensor:
    """See ``boxes.move``."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + inclusive
    return boxes + offsets * sides.repeat(1, 2)


def landmarks_of(boxes: Tensor, heads: Tensor) -> Tensor:
    """Landmarks N×10, x and y in turn, from the square boxes O-Net saw and its heads."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + 1
    places = heads[:, 5:15].reshape(-1, 2, 5).transpose(1, 2)
    return (sides[:, None] * places + boxes[:, None, :2] - 1).flatten(1)
