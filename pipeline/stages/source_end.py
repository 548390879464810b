"""Ends the tracks of a source after its last frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ..core.types import FrameResult
from .recognise import RecogniseStage


class Ending(Protocol):
    """The state of a source, as far as this stage uses it."""

    name: str
    live: bool
    processed: int

    @property
    def finished(self) -> bool:
        """Read to its end, and every frame is processed."""


class SourceEndsStage:
    """Runs the recogniser and ends the tracks of each source whose last frame went through.

    A source's end becomes visible one batch after its last frame, or at the end of the stream.

    Args:
        sources: all sources of the run; their ``processed`` is counted here.
        on_ended: gets the name of a source after its last event.
        on_processed: called after frames were counted.
    """

    def __init__(
        self,
        stage: RecogniseStage,
        sources: Sequence[Ending],
        *,
        on_ended: Callable[[str], None],
        on_processed: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_processed = on_processed
        self.name = stage.name
        self._stage = stage
        self._on_ended = on_ended
        self._live = [source for source in sources if source.live]
        # Read one after another: those behind the first unfinished one have not ended either.
        self._files = deque(source for source in sources if not source.live)
        self._by_name = {source.name: source for source in sources}

    @property
    def busy(self) -> bool:
        """See `RecogniseStage.busy`."""
        return self._stage.busy

    def hurry(self) -> None:
        """See `RecogniseStage.hurry`."""
        self._stage.hurry()

    def add(self, source: Ending) -> None:
        """Another file, before its first frame; from any thread."""
        self._by_name[source.name] = source
        self._files.append(source)

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        # First: the results of the previous call have left the stage by now.
        self._end_finished()
        done = self._stage(batch)
        for result in done:
            source = self._by_name.get(result.frame.source)
            if source is not None:
                source.processed += 1
        self._on_processed()
        return done

    def tick(self) -> None:
        """End the finished sources while no frames arrive."""
        self._end_finished()
        self._stage.tick()

    def flush(self) -> None:
        self._stage.flush()
        self._end_finished()

    def close(self) -> None:
        """The networks belong to the pipeline."""

    def _end_finished(self) -> None:
        ended = [source for source in self._live if source.finished]
        self._live = [source for source in self._live if source not in ended]
        while self._files and self._files[0].finished:
            ended.append(self._files.popleft())
        for source in ended:
            self._stage.end_source(source.name)
            self._on_ended(source.name)
