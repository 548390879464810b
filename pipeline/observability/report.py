"""What a run did: for people, for JSON, and while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core.events import OutputCause, State
from ..runtime.channel import QueueStats


@dataclass(frozen=True, slots=True)
class AgeReport:
    """Age of a source's frames when their results were out, in seconds from their arrival."""

    p50: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source of a run.

    Attributes:
        name: without credentials.
        frames: frames that came out: searched, or skipped by design.
        expected: frames it should have had, where its container says so.
        corrupt: frames or packets that could not be decoded.
        seconds: presentation time covered.
        opened: it could be opened at all.
        problem: what was wrong with it, None when nothing was.
        skipped: those of ``frames`` that were skipped (``tracking.detect_every``).
        dropped: frames lost before they were processed, by cause.
        state: a live source's last state, None for a file.
        restarts: times a live source was opened again.
        age: of a live source's frames, None for a file or before the first frame.
        left_out: faces that a limit left out, by cause.
    """

    name: str
    frames: int
    expected: int | None
    corrupt: int
    seconds: float
    opened: bool
    problem: str | None
    skipped: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    state: State | None = None
    restarts: int = 0
    age: AgeReport | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageReport:
    """Time spent in a stage: ``seconds`` over ``batches`` of ``frames`` in all."""

    seconds: float
    batches: int
    frames: int


@dataclass(frozen=True, slots=True)
class QueueReport:
    """A queue: what it holds, the most it held, and how long its writers and readers waited."""

    capacity: int
    depth: int
    high_water: int
    blocked_seconds: float
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class OutputReport:
    """An output of a live run that failed at some time.

    Attributes:
        degraded: it fails now, or did at the end of the run.
        cause: of the last error, like ``reason``, which is in words.
        errors: attempts to write that failed.
        lost: events, pictures and frames that were not written.
    """

    name: str
    degraded: bool
    cause: OutputCause
    reason: str
    errors: int
    lost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole run.

    Attributes:
        frames: see `SourceReport`, like ``skipped``.
        seconds: from the start of the sources to the last result.
        fps: ``frames / seconds``.
        first_result_seconds: from the start of the run, loading included, to the first result.
        embedded: faces the encoder saw (see ``encoder.looks``).
        limiting_queue: the queue before the slowest worker, None when decoding is the slowest.
        interrupted: it was stopped before its sources ended.
        outputs: those that failed at some time; only of live runs, which go on.
    """

    sources: tuple[SourceReport, ...]
    frames: int
    skipped: int
    faces: int
    embedded: int
    sightings: int
    dropped: dict[str, int]
    seconds: float
    fps: float
    first_result_seconds: float | None
    stages: dict[str, StageReport]
    queues: dict[str, QueueReport]
    limiting_queue: str | None
    peak_memory_bytes: int
    backends: dict[str, str]
    interrupted: bool
    outputs: tuple[OutputReport, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong with the sources, a line each."""
        return tuple(s.problem for s in self.sources if s.problem is not None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a running run.

    Attributes:
        total: frames expected in all, None where a source does not say.
        queues: waiting items by queue.
        source: name of the source that delivered last.
        ages: of the frames of each live source that delivered any.
        states: of each live source.
        files: how many there are, and how many of them were read.
    """

    frames: int
    total: int | None
    faces: int
    dropped: int
    fps: float
    queues: dict[str, int]
    source: str | None
    ages: Mapping[str, AgeReport] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)
    files: tuple[int, int] = (0, 0)

    @property
    def seconds_left(self) -> float | None:
        """By the frames, else by the files; None where neither is known."""
        files, read = self.files
        if self.fps <= 0 or self.states:
            return None
        if self.total:
            return max(0, self.total - self.frames) / self.fps
        return self.frames / self.fps * (files - read) / read if read else None


def limiting_queue(queues: Sequence[QueueStats]) -> QueueStats | None:
    """The queue before the slowest worker, or None when the sources are the slowest.

    A worker is idle while it waits at its inlet or is blocked at its outlet; the slowest worker
    is the one that is idle least.

    ``queues`` lead from the sources downstream; the worker that reads one fills the next.
    """
    if not queues:
        return None
    idle = [queues[0].blocked_seconds / queues[0].producers]
    for here, after in zip(queues, [*queues[1:], None], strict=True):
        idle.append(here.waited_seconds + (after.blocked_seconds if after else 0.0))
    slowest = min(range(len(idle)), key=idle.__getitem__)
    return queues[slowest - 1] if slowest else None
