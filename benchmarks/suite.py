"""What a suite of measurements consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facestream.pipeline.cli.bench_results import Missing, Row, Scalar

# Keys of cases, in all suites.
KEYS = (
    *("size", "min_face", "faces", "sources", "batch", "templates", "part", "threads"),
    *("height", "detect_every", "precision", "video"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        folder: for files that the contenders share; the caller deletes it.
        videos: measured instead of rendered pictures and clips.
        rounds: times each contender is measured.
        seconds: shortest length of a round.
        quick: fewer and smaller cases.
        peers: False leaves other libraries out.
        zoo: folder of OpenCV Zoo's YuNet and SFace.
        only: values that a case may have, e.g. ``{"size": ("720p", "480p")}``.
        contenders: only those whose name contains one of these words; empty takes all.
        max_frames: of each video; None takes all.
        peer_frames: most frames for facenet-pytorch, which is slow.
        min_face: smallest face in videos, in pixels.
        detect_every: every contender searches every N-th frame.
        threads: of the contenders of ``training``; None leaves it to the libraries.
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
    max_frames: int | None = None
    peer_frames: int = 24
    min_face: int = 40
    detect_every: int = 1
    threads: int | None = None

    def takes(self, key: Mapping[str, Scalar]) -> bool:
        """Whether ``only`` admits a case; it does not concern cases without its keys."""
        return all(
            name not in key or str(key[name]) in values for name, values in self.only.items()
        )

    def takes_contender(self, name: str) -> bool:
        """Whether ``contenders`` admits one."""
        return not self.contenders or any(word in name for word in self.contenders)


@dataclass(frozen=True, slots=True)
class Case:
    """The task of every contender.

    Attributes:
        key: see ``Row.case``.
        unit: of the rates.
        given: what a worker needs beside the key; JSON.
        group: contenders get a fresh process when it changes, so that memory is separate.
    """

    key: Mapping[str, Scalar]
    unit: str
    given: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


@dataclass(slots=True)
class Prepared:
    """A contender that is ready to work on a case, in its own process.

    Attributes:
        step: does a piece of work and returns the number of items; or also the seconds, if not
            all of the call counts.
        answer: what it finds in the case, as JSON, for the checks.
        warm: items to work through before anything is timed.
        detail: see ``Row.detail``.
        close: frees it.
    """

    step: Callable[[], float | tuple[float, float]]
    answer: Callable[[], Any] = lambda: None
    warm: float = 1
    detail: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


class Suite:
    """A family of measurements. Its methods may be called in any process."""

    name: str

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Who takes part, the reference first, and who cannot."""
        raise NotImplementedError

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """What is measured, and what is left out."""
        raise NotImplementedError

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """In the worker: get ready; None if the contender has no part in the case."""
        raise NotImplementedError

    def check(self, case: Case, answers: Mapping[str, Any]) -> Mapping[str, Mapping[str, Scalar]]:
        """The quality of the answers, by contender."""
        return {}

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, with figures that need all of them."""
        return list(rows)


def stepper(work: Callable[[Any], object], items: Any, batch: int) -> Callable[[], float]:
    """A step that works on batch after batch of the items, again and again."""
    done = 0

    def step() -> float:
        nonlocal done
        start = done % len(items)
        done += batch
        work(items[start : start + batch])
        return float(batch)

    return step


def sort_out(found: Mapping[str, Missing | None]) -> tuple[list[str], list[Missing]]:
    """Split contenders into those that can run (None) and those that cannot."""
    names = [name for name, missing in found.items() if missing is None]
    return names, [missing for missing in found.values() if missing is not None]
