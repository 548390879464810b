"""A sink that gets what is of some sources."""

from __future__ import annotations

from collections.abc import Collection

from ..core.events import Event
from ..core.types import FrameResult
from ..metrics import Metrics
from .base import Sink


class OnlySink(Sink):
    """Passes on the frames and events of these sources; the others' go elsewhere.

    Args:
        inner: the sink; closed with this one.
        sources: names.
    """

    def __init__(self, inner: Sink, sources: Collection[str]) -> None:
        self.needs = inner.needs
        self._inner = inner
        self._sources = frozenset(sources)

    def count_in(self, metrics: Metrics) -> None:
        self._inner.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        if result.frame.source in self._sources:
            self._inner.write(result)

    def event(self, event: Event) -> None:
        if event.source in self._sources:
            self._inner.event(event)

    def source_ended(self, source: str) -> None:
        if source in self._sources:
            self._inner.source_ended(source)

    def close(self) -> None:
        self._inner.close()
