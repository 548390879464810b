"""From one stream of results to all sinks, in no order that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

from ..core.errors import StageFailed
from ..core.events import Event, Left
from ..core.types import FrameResult
from ..metrics.store import Metrics
from .base import Sink, needs_of
from .degrading import OutputHealth, degrading
from .registry import open_sink


class FanOut(Sink):
    """Passes everything to each sink, and closes each of them once.

    An event is completed once, before the first sink gets it: by the sinks' `Sink.enrich` and,
    on request, with the fused embedding. All sinks see the same event.

    Args:
        sinks: sinks, or what `open_sink` takes.
        embeddings: ``added`` puts the fused embedding into `Left` events.

    Raises:
        OutputError: one of the sinks cannot be opened; all are closed.
    """

    def __init__(
        self,
        sinks: Sequence[Sink | str] = (),
        *,
        embeddings: Literal["added", "left_out"] = "left_out",
    ) -> None:
        self._embeddings = embeddings
        self._health: OutputHealth | None = None
        self._sinks: list[Sink] = []
        with ExitStack() as opened:
            for sink in sinks:
                if not isinstance(sink, str):
                    opened.callback(sink.close)
            for sink in sinks:
                if isinstance(sink, str):
                    sink = opened.enter_context(open_sink(sink))
                self._sinks.append(sink)
            self._closers = opened.pop_all()
        self.needs = needs_of(self._sinks)

    def go_on_after_errors(self, health: OutputHealth) -> None:
        """Degrade an output that fails, instead of raising; called before anything else."""
        self._health = health
        self._sinks = [degrading(sink, health) for sink in self._sinks]
        self._closers.pop_all()
        for sink in self._sinks:
            self._closers.callback(sink.close)

    def count_in(self, metrics: Metrics) -> None:
        for sink in self._sinks:
            sink.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        self._each(lambda sink: sink.write(result))

    def event(self, event: Event) -> None:
        if self._embeddings == "added" and isinstance(event, Left):
            event = event.with_embedding()
        for sink in self._sinks:
            with _named(sink):
                event = sink.enrich(event)
        self._each(lambda sink: sink.event(event))

    def source_ended(self, source: str) -> None:
        self._each(lambda sink: sink.source_ended(source))

    def close(self) -> None:
        """Close every sink, also when one of them cannot be; may be repeated."""
        self._closers.close()

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            with _named(sink):
                call(sink)
        # An output that fails now tells the others, and itself when it works again.
        while self._health is not None and (change := self._health.next_change()) is not None:
            for sink in self._sinks:
                with _named(sink):
                    sink.event(change)


@contextmanager
def _named(sink: Sink) -> Iterator[None]:
    """Make of whatever a sink raises a failure that names it."""
    try:
        yield
    except Exception as error:
        raise StageFailed(type(sink).__name__, error) from error
