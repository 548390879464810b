"""Non-maximum suppression in a fixed number of steps.

The greedy result is the only set in which a box stays exactly when no better box that stays
overlaps it. Applying that rule to all boxes at once, again and again, settles the best first,
then those that hang on them, and ends in that set after as many rounds as the longest chain of
boxes that hang on each other, twice at most. A fixed number of rounds is run; whether the last one
changed anything is the host's to look at. It mostly takes under ten (see ``capacity``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.boxes import NmsMode


class Kept(NamedTuple):
    """What stays: N bool; and whether that is final, bool of no dimension."""

    mask: Tensor
    settled: Tensor


def overlaps(a: tuple[Tensor, ...], b: tuple[Tensor, ...], mode: NmsMode) -> Tensor:
    """Overlap of boxes given as x1, y1, x2, y2, broadcast; in the order of ``boxes.nms``.

    The same operations on float32 in the same order, so that not a bit differs.
    """
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp_(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp_(min=0)
    shared = width * height
    one, other = _area(a), _area(b)
    whole = one + other - shared if mode == "union" else torch.minimum(one, other)
    return torch.where(whole > 0, shared / whole, 0.0)


def suppress_near(
    boxes: Tensor, used: Tensor, better: Tensor, neighbours: Tensor, *, limit: float, rounds: int
) -> Kept:
    """Of boxes that each have a few neighbours, those that no better one that stays overlaps.

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
    """Of boxes in the order of ``ranked``, those that no better one that stays overlaps.

    Args:
        boxes: N×4.
        frames: N, the picture of each: boxes of different pictures never meet.
        used: N bool.
        limit: largest overlap that two kept boxes may have.
        mode: see ``boxes.nms``.
        window: how many boxes before it each one meets, at least 1. Exact where no picture has
            more than ``window + 1``.
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
