"""Lists of fixed length whose number of entries only the device knows.

What depends on data would have to come to the host before the next shape is known. Instead a
list has a capacity, a mask of the slots in use, and a count that may exceed the capacity: the
host reads it at the end, together with the results. Nothing is dropped to fit: a batch that needed
more than there was is searched again with longer lists, which is counted. Lists are as long as
recent batches needed, with some room.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

import torch
from torch import Tensor

# Measured on 118 pictures (photos, portraits, films, a street crowd in 1080p) at a smallest face
# of 20: in the median a picture has 98 cells, 45 windows, 9 refined boxes and 7 outputs; at the
# most 3,613, 1,640, 93 and 70. On 99 searches of them suppression was settled after 5 rounds in the
# median and 8 at the most.
_FIRST = (512, 128, 32, 16)
_FIRST_WINDOW = 32
_FIRST_ROUNDS = 12

# Room above what was needed.
_ROOM = 1.25

# So many batches are remembered; a length shrinks when they needed less than half of it.
_MEMORY = 64


class Lengths(NamedTuple):
    """Lengths of the lists that a batch needs, or has.

    Attributes:
        cells: P-Net's cells above its threshold, in all pictures.
        windows: those that stay within their level: what R-Net sees.
        refined: what R-Net passes.
        outputs: those that stay: what O-Net sees.
        window: the most boxes of one picture in one suppression, less one.
        rounds: of suppression.
    """

    cells: int
    windows: int
    refined: int
    outputs: int
    window: int
    rounds: int

    def hold(self, needed: Lengths) -> bool:
        """Whether what was needed fits."""
        return all(a >= b for a, b in zip(self, needed, strict=True))

    def roomy(self) -> Lengths:
        """With some room, on a ladder of few lengths; rounds as they are."""
        *lists, rounds = self
        return Lengths._make([*(_rung(int(value * _ROOM) + 1) for value in lists), rounds])


class Planner:
    """The lengths for batches of one geometry and one number of pictures (``frames``)."""

    def __init__(self, frames: int) -> None:
        lists = (frames * length for length in _FIRST)
        self._recent: deque[Lengths] = deque(maxlen=_MEMORY)
        self.lengths = Lengths._make([*lists, _FIRST_WINDOW, _FIRST_ROUNDS])

    def learn(self, needed: Lengths) -> None:
        """Take note of what a batch needed.

        What follows a list that was too short is no more than a lower bound; searching the batch
        again shows the rest.
        """
        self._recent.append(needed)
        if not self.lengths.hold(needed):
            self.lengths = Lengths._make(map(max, self.lengths, needed.roomy()))
        elif len(self._recent) == _MEMORY:
            self._shrink()

    def _shrink(self) -> None:
        most = Lengths._make(map(max, *self._recent))
        # Rounds are not measured, only whether they were enough: they stay.
        *lists, rounds = self.lengths
        pairs = zip(lists, most.roomy(), strict=False)
        shrunk = (new if new * 2 < old else old for old, new in pairs)
        self.lengths = Lengths._make([*shrunk, rounds])


def _rung(value: int) -> int:
    """The least of 1, 1.5, 2, 3, 4, 6, 8, … times 16 that is not below ``value``."""
    step = 16
    while step < value:
        step *= 2
    return step * 3 // 4 if step > 16 and step * 3 // 4 >= value else step


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
    """How many used slots (N bool) of its picture precede each, N.

    ``frames`` is N int64, the picture of each in the order of ``ranked``, of ``count`` pictures.
    """
    before = used.cumsum(0) - used.long()
    # Where a picture's slots begin, what came before is least.
    least = before.new_full((count,), len(before))
    return before - least.scatter_reduce_(0, frames, before, "amin")[frames]
