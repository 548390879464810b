"""What the cascade needs of its three networks, whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from facestream.engines.base import Engine
from numpy.typing import NDArray

from ...core.boxes import NmsMode, Rows
from ...core.types import Floats, Image
from .proposals import Hits, Level
from .sampling import Ints

RNET_SIDE = 24
ONET_SIDE = 48

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Threads."""

    @property
    def parts(self) -> int:
        """How many."""
        ...

    def each(self, job: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of ``job`` for each item, in order, side by side."""
        ...


class SearchedPicture(Protocol):
    """A picture before the networks. R- and O-Net may look from several threads."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def pieces(self) -> int:
        """Into how many pieces a thread's share of the windows is best cut."""
        ...

    def cells(self, levels: Sequence[Level], threshold: float, workers: Workers) -> list[Hits]:
        """P-Net: the cells of each level that score at least ``threshold`` (log-odds)."""
        ...

    def rnet(self, windows: Ints, threshold: float) -> Floats:
        """R-Net's heads N×5 of windows N×4 (x1, y1 and one past x2, y2, not empty; they may reach
        beyond the picture); below ``threshold`` (log-odds) they may be rough."""
        ...

    def onet(self, windows: Ints) -> Floats:
        """O-Net's heads N×15 of windows N×4."""
        ...

    def nms(
        self, boxes: NDArray[Any], scores: NDArray[Any], threshold: float, mode: NmsMode = "union"
    ) -> Rows:
        """See ``core.boxes.nms``."""
        ...


class Stages(Protocol):
    """The networks."""

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines by name; those that only screen are named so."""
        ...

    def look(self, image: Image) -> SearchedPicture:
        """A picture H×W×3 uint8 before the networks."""
        ...

    def close(self) -> None:
        """Free the networks."""
        ...
