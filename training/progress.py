"""ReportProgress of long work: functions report it, the command line shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class ReportProgress(Protocol):
    """Called with what is done, how far, how much there is, and perhaps the latest figures."""

    def __call__(
        self, what: str, done: int, total: int, values: dict[str, float] | None = None, /
    ) -> None: ...


def silent(what: str, done: int, total: int, values: dict[str, float] | None = None, /) -> None:
    """The default progress: none."""


def counted(progress: ReportProgress, what: str, total: int) -> Callable[[int], None]:
    """A function of the number just done, which reports the number done so far."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return add
