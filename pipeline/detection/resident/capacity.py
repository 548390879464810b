"""How long the lists of a batch are: what was needed lately, and some room.

Nothing is dropped to fit. A batch that needed more than there was is searched again with longer
lists, which is counted; the same search then finds them long enough.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

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
        crowd: the most boxes of one picture that meet in one suppression, less one.
        rounds: of suppression.
    """

    cells: int
    windows: int
    refined: int
    outputs: int
    crowd: int
    rounds: int

    def hold(self, needed: Lengths) -> bool:
        """Whether what was needed fits."""
        return all(a >= b for a, b in zip(self, needed, strict=True))

    def joined(self, other: Lengths) -> Lengths:
        """The larger of each."""
        return Lengths._make(map(max, self, other))

    def roomy(self) -> Lengths:
        """With some room, on a ladder of few lengths; rounds as they are."""
        *lists, rounds = self
        return Lengths._make([*(_rung(int(value * _ROOM) + 1) for value in lists), rounds])


class Planner:
    """The lengths for batches of one kind: of one geometry and number of pictures.

    Args:
        frames: pictures in a batch.
    """

    def __init__(self, frames: int) -> None:
        lists = (frames * length for length in _FIRST)
        self._recent: deque[Lengths] = deque(maxlen=_MEMORY)
        self.lengths = Lengths._make([*lists, _FIRST_WINDOW, _FIRST_ROUNDS])

    def learn(self, needed: Lengths) -> None:
        """Take note of what a batch needed.

        Of what follows a list that was too short the need is no more than a guess; the batch is
        searched again and tells.
        """
        self._recent.append(needed)
        if not self.lengths.hold(needed):
            self.lengths = self.lengths.joined(needed.roomy())
        elif len(self._recent) == _MEMORY:
            self._shrink()

    def _shrink(self) -> None:
        most = self._recent[0]
        for needed in self._recent:
            most = most.joined(needed)
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
