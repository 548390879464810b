"""What the recogniser needs of a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Floats, Identity


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The people nearest to one template, best first.

    Attributes:
        person_ids: K int64, each person once.
        similarities: K float32, cosine to the person's best photo.
    """

    person_ids: NDArray[np.int64]
    similarities: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is decided on: a track's candidates and how far the picture can be trusted."""

    candidates: Candidates
    sigma: float
    side: float


class Matcher(Protocol):
    """Search and the open-set decision over an enrolled gallery."""

    def search(self, mu: NDArray[Any]) -> list[Candidates]:
        """The nearest people of each embedding M×D (not necessarily normalised)."""
        ...

    def decide(self, looks: Sequence[Look]) -> list[Identity]:
        """Who the faces of one frame are: each person at most once."""
        ...
