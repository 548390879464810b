"""Lists of fixed length whose number of entries only the device knows.

What depends on data would have to come to the host before the next shape is known. Instead a
list has a capacity, a mask of the slots in use, and a count that may exceed the capacity: the
host reads it at the end, together with the results, and repeats what did not fit.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Slots(NamedTuple):
    """Entries chosen from a longer list.

    Attributes:
        places: C int64, their places in that list; any place where a slot is not in use.
        used: C bool; the slots in use come first.
        total: how many there are, which may be more than fit, int64 of no dimension.
    """

    places: Tensor
    used: Tensor
    total: Tensor


def chosen(mask: Tensor, capacity: int) -> Slots:
    """The places N of a mask that are true, in order, as many as fit."""
    return chosen_by(mask.cumsum(0, dtype=torch.int32), capacity)


def chosen_by(sums: Tensor, capacity: int) -> Slots:
    """As ``chosen``, from the mask's cumulative sums N int32, N at least 1."""
    wanted = torch.arange(1, capacity + 1, dtype=sums.dtype, device=sums.device)
    index = torch.searchsorted(sums, wanted).clamp_(max=len(sums) - 1)
    count = sums[-1]
    return Slots(index, wanted <= count, count.long())


def ranked(
    frames: Tensor, scores: Tensor, used: Tensor, *, ties: Literal["earlier", "later"]
) -> Tensor:
    """The order of slots by picture, then by descending score; unused slots last.

    Args:
        frames: N int64, the picture of each.
        scores: N float32, not negative.
        used: N bool.
        ties: of equal scores the one that comes first.
    """
    # Floats that are not negative are in the order of their bits.
    bits = scores.contiguous().view(torch.int32).long()
    last = torch.iinfo(torch.int32).max
    keys = torch.where(used, (frames << 32) + (last - bits), torch.iinfo(torch.int64).max)
    if ties == "earlier":
        return keys.sort(stable=True).indices
    return len(keys) - 1 - keys.flip(0).sort(stable=True).indices


def most_in_a_frame(frames: Tensor, used: Tensor, count: int) -> Tensor:
    """The largest number of used slots that one of ``count`` pictures has."""
    totals = torch.zeros(count, dtype=torch.int64, device=frames.device)
    return totals.scatter_add_(0, frames, used.long()).max()


def place_in_frame(frames: Tensor, used: Tensor, count: int) -> Tensor:
    """How many used slots of its picture come before each, N.

    Args:
        frames: N int64, the picture of each, in the order of ``ranked``.
        used: N bool.
        count: of pictures.
    """
    before = used.cumsum(0) - used.long()
    # Where a picture's slots begin, what came before is least.
    least = before.new_full((count,), len(before))
    return before - least.scatter_reduce_(0, frames, before, "amin")[frames]
