"""Arithmetic on boxes as on the CPU: the same operations on float32 in the same order.

Non-maximum suppression takes a fixed number of steps. The greedy result is the only set in which a
box stays exactly when no better box that stays overlaps it. Applying that rule to all boxes at
once, again and again, settles the best first, then those that depend on them, and ends in that set
after at most twice as many rounds as the longest chain of boxes that depend on each other. A fixed
number of rounds is run, mostly under ten (see ``lists``); the host checks whether the last one
changed anything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.boxes import NmsMode


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
    return boxes + offsets * (boxes[:, 2:4] - boxes[:, 0:2] + inclusive).repeat(1, 2)


def landmarks_of(boxes: Tensor, heads: Tensor) -> Tensor:
    """Landmarks N×10, x and y in turn, from the square boxes O-Net saw and its heads."""
    sides = boxes[:, 2:4] - boxes[:, 0:2] + 1
    places = heads[:, 5:15].reshape(-1, 2, 5).transpose(1, 2)
    return (sides[:, None] * places + boxes[:, None, :2] - 1).flatten(1)


class Kept(NamedTuple):
    """What stays: N bool; and whether that is final, bool of no dimension."""

    mask: Tensor
    settled: Tensor


def overlaps(a: tuple[Tensor, ...], b: tuple[Tensor, ...], mode: NmsMode) -> Tensor:
    """Overlap of boxes given as x1, y1, x2, y2, broadcast; see ``core.boxes.nms``."""
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp_(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp_(min=0)
    shared = width * height
    one, other = _area(a), _area(b)
    whole = one + other - shared if mode == "union" else torch.minimum(one, other)
    return torch.where(whole > 0, shared / whole, 0.0)


def suppress_near(
    boxes: Tensor, used: Tensor, better: Tensor, neighbours: Tensor, *, limit: float, rounds: int
) -> Kept:
    """Suppression of boxes N×4 that each have a few neighbours.

    Args:
        boxes: N×4.
        used: N bool.
        better: N×K bool, whether a neighbour is there and better.
        neighbours: N×K int64, their slots.
        limit: largest overlap, over the union, that two kept boxes may have.
        rounds: how often to apply the rule, at least 2.
    """
    mine = tuple(boxes[:, i : i + 1] for i in range(4))
    theirs = tuple(boxes[:, i].take(neighbours) for i in range(4))
    clash = (overlaps(mine, theirs, "union") > rounded(limit)) & better
    keep = before = used
    for _ in range(rounds):
        before = keep
        keep = used & ~(clash & keep.take(neighbours)).any(1)
    return Kept(keep, (keep == before).all())


def suppress_ranked(
    boxes: Tensor,
    frames: Tensor,
    used: Tensor,
    *,
    limit: float,
    mode: NmsMode,
    window: int,
    rounds: int,
) -> Kept:
    """Suppression of boxes N×4 in the order of ``ranked``, within each picture.

    Args:
        boxes: N×4.
        frames: N, the picture of each.
        used: N bool.
        limit: largest overlap that two kept boxes may have.
        mode: see ``core.boxes.nms``.
        window: how many boxes before it each one is compared with, at least 1. Exact where no
            picture has more than ``window + 1``.
        rounds: how often to apply the rule, at least 2.
    """
    count = len(boxes)

    def earlier(values: Tensor) -> Tensor:
        """The ``window`` values before each, N×window, as a view of one padded copy."""
        return F.pad(values, (window, 0)).unfold(0, window, 1)[:count]

    mine = tuple(boxes[:, i : i + 1] for i in range(4))
    theirs = tuple(earlier(boxes[:, i]) for i in range(4))
    # 0 is no picture: it marks unused slots, and the padding.
    marks = torch.where(used, frames + 1, 0)
    clash = overlaps(mine, theirs, mode) > rounded(limit)
    clash &= earlier(marks) == marks[:, None]
    clash &= used[:, None]
    keep = before = used
    for _ in range(rounds):
        before = keep
        keep = used & ~(clash & earlier(keep)).any(1)
    return Kept(keep, (keep == before).all())


def rounded(limit: float) -> float:
    """A bound as numpy compares float32 with it."""
    return float(np.float32(limit))


def _area(box: tuple[Tensor, ...]) -> Tensor:
    return (box[2] - box[0]).clamp(min=0) * (box[3] - box[1]).clamp(min=0)
