"""What a suite of measurements is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .results import (
    Missing,
    Results,
    Row,
    Scalar,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is to be measured.

    Attributes:
        folder: for files that the contenders share; the caller deletes it.
        videos: to measure with, beside or instead of what is rendered.
        rounds: how often each contender has its turn.
        seconds: how long a turn lasts at least.
        quick: fewer and smaller cases.
        peers: ``with`` measures other libraries too, those that are missing are named.
        zoo: folder of OpenCV Zoo's YuNet and SFace.
        only: values that a case may have, e.g. ``{"size": ("720p", "480p")}``.
        contenders: only those whose name contains one of these words; empty takes all.
    """

    folder: Path
    videos: tuple[Path, ...] = ()
    rounds: int = 3
    seconds: float = 1.0
    quick: bool = False
    peers: bool = True
    zoo: Path | None = None
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contenders: tuple[str, ...] = ()

    def takes(self, key: Mapping[str, Scalar]) -> bool:
        """Whether ``only`` lets a case through; it says nothing of cases without its keys."""
        return all(
            name not in key or str(key[name]) in values for name, values in self.only.items()
        )

    def takes_contender(self, name: str) -> bool:
        """Whether ``contenders`` lets one through."""
        return not self.contenders or any(word in name for word in self.contenders)


@dataclass(frozen=True, slots=True)
class Case:
    """What every contender is given.

    Attributes:
        key: see ``Row.case``.
        unit: of the rates.
        given: what a contender's process needs to know beside the key; JSON.
        group: contenders get a fresh process when it changes, so that memory is told apart.
    """

    key: Mapping[str, Scalar]
    unit: str
    given: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


@dataclass(slots=True)
class Prepared:
    """A contender that is ready to work on a case, in its own process.

    Attributes:
        step: does a piece of work, to its end, and returns how many items it was; or also in how
            many seconds, where not all of the call is to count.
        answer: what it finds in the case, as JSON, for the checks.
        warm: items to work through before anything is timed.
        detail: see ``Row.detail``.
        close: frees it.
    """

    step: Callable[[], float | tuple[float, float]]
    answer: Callable[[], Any] = lambda: None
    warm: int = 1
    detail: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


class Watch(Protocol):
    """Is told how far a run is."""

    def expect(self, steps: int) -> None:
        """So many more steps are to come."""

    def doing(self, text: str) -> None:
        """What is being measured now; the step before is done."""


class Suite(Protocol):
    """One family of measurements. Its methods may be called in any process."""

    name: str

    def contenders(self, wanted: Wanted) -> tuple[list[str], list[Missing]]:
        """Who can take part, the one all are compared with first, and who cannot."""
        ...

    def cases(self, wanted: Wanted) -> tuple[list[Case], list[Missing]]:
        """What is measured, and what is left out."""
        ...

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """In the contender's process: get ready; None where the case means nothing to it."""
        ...

    def check(self, case: Case, answers: Mapping[str, Any]) -> Mapping[str, Mapping[str, Scalar]]:
        """What the answers are worth, by contender."""
        ...

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, with what follows only from all of them."""
        ...


class Takes(Protocol):
    """A suite that measures in its own way."""

    name: str

    def run(self, wanted: Wanted, results: Results, watch: Watch) -> None:
        """Measure everything into the results."""
        ...
