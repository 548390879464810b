"""A pipeline that runs in the background of a test, and what is seen of it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from facestream.pipeline import Event, Gallery, Pipeline, Settings, Sink
from facestream.pipeline.core.events import SourceStateEvent, State
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.observability.report import Report
from facestream.pipeline.sources import SourceSpec

HANG = 30.0
"""Seconds that only a hang takes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A result, as little of it as tests ask for.

    Attributes:
        at: when it came (monotonic clock).
        index: of the frame in its source.
        pts: of the frame.
        size: width and height of its picture.
        faces: tracks in it.
        captured: when it was captured (monotonic clock).
    """

    at: float
    index: int
    pts: float
    size: tuple[int, int]
    faces: int
    captured: float = 0.0


class Watcher(Sink):
    """Remembers what comes, and lets others wait for it."""

    def __init__(self) -> None:
        self.frames: dict[str, list[Seen]] = defaultdict(list)
        self.events: list[Event] = []
        self.ended: list[str] = []
        self._news = threading.Condition()

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        height, width = frame.image.shape[:2]
        seen = Seen(
            *(time.monotonic(), frame.index, frame.pts, (width, height), len(result.tracks)),
            captured=frame.captured_at,
        )
        with self._news:
            self.frames[frame.source].append(seen)
            self._news.notify_all()

    def event(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def source_ended(self, source: str) -> None:
        with self._news:
            self.ended.append(source)
            self._news.notify_all()

    def states(self, source: str) -> list[SourceStateEvent]:
        """How this source was, in order."""
        with self._news:
            return [
                event
                for event in self.events
                if isinstance(event, SourceStateEvent) and event.source == source
            ]

    def state(self, source: str) -> State | None:
        """How it is."""
        states = self.states(source)
        return states[-1].state if states else None

    def count(self, source: str) -> int:
        """Results of this source so far."""
        with self._news:
            return len(self.frames[source])

    def sizes(self, source: str) -> set[tuple[int, int]]:
        """Widths and heights of its pictures so far."""
        with self._news:
            return {seen.size for seen in self.frames[source]}

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float = HANG) -> None:
        """Wait until ``condition`` holds; the test fails when it never does."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                pytest.fail(f"not within {seconds:g} s: {what}; {self}")
            with self._news:
                self._news.wait(0.05)

    def wait_state(self, source: str, *wanted: State, after: int = 0) -> int:
        """Wait until the source came into one of these states; returns the number of states.

        Args:
            source: its name.
            wanted: any of these.
            after: states that are too old to count.
        """

        def reached() -> bool:
            return any(event.state in wanted for event in self.states(source)[after:])

        self.wait(reached, f"{source} is {' or '.join(wanted)}")
        return len(self.states(source))

    def wait_frames(self, source: str, more: int = 3) -> float:
        """Wait for ``more`` results of this source from now on; returns when they were there."""
        goal = self.count(source) + more
        self.wait(lambda: self.count(source) >= goal, f"{more} frames of {source}")
        with self._news:
            return self.frames[source][goal - 1].at

    def __repr__(self) -> str:
        with self._news:
            counts = {name: len(frames) for name, frames in self.frames.items()}
        states = {n: [e.state for e in self.states(n)][-6:] for n in self.sources()}
        return f"frames {counts}, states {states}"

    def sources(self) -> list[str]:
        """Every source that told how it is."""
        with self._news:
            return list(dict.fromkeys(e.source for e in self.events))


class LiveRun:
    """Runs a pipeline in a thread; leaving the block stops it and checks that it ends in time.

    Args:
        sources: name and URL of each, or a path.
        settings: see `Settings`.
        sinks: besides the watcher.
        gallery: who is known.
        limit: seconds that a stop may take.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, str] | Path],
        *,
        settings: Settings,
        sinks: Sequence[Sink] = (),
        gallery: Gallery | Path | None = None,
        limit: float = HANG,
    ) -> None:
        self.seen = Watcher()
        self.stop_seconds = 0.0
        self.report: Report | None = None
        self.error: BaseException | None = None
        specs = [s if isinstance(s, Path) else SourceSpec("url", s[1], s[0]) for s in sources]
        self.pipeline = Pipeline(
            specs, settings=settings, sinks=[self.seen, *sinks], gallery=gallery, frames="searched"
        )
        self._limit = limit
        self._thread = threading.Thread(target=self._run, name="live-run", daemon=True)

    def stop(self) -> Report:
        """Stop it, wait for its end, and return what it says."""
        began = time.monotonic()
        self.pipeline.stop()
        self._thread.join(self._limit)
        self.stop_seconds = time.monotonic() - began
        if self._thread.is_alive():
            pytest.fail(f"no end within {self._limit:g} s of the stop; {self.seen}")
        if self.error is not None:
            raise self.error
        if self.report is None:
            raise RuntimeError("the run left no report")
        return self.report

    def join(self) -> Report:
        """Wait until it ends by itself, and return what it says."""
        self.seen.wait(lambda: not self._thread.is_alive(), "the run ends")
        return self.stop()

    def _run(self) -> None:
        try:
            self.report = self.pipeline.run()
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.stop()
            else:
                self.pipeline.abort()
                self._thread.join(self._limit)
        finally:
            self.pipeline.close()
