"""What a sink is: where results and events go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Literal

from facestream.engines.closing import Closing

from ..core.events import Event
from ..core.types import FrameResult
from ..metrics.store import Metrics

Needs = Literal["all", "searched"]


class Sink(Closing):
    """Receives the results of a pipeline; override the methods of interest.

    All methods are called from one thread, in the order of each source. A constructor checks that
    its output can be written and raises ``OutputError`` if not, before anything runs; it leaves
    what an earlier run wrote alone until there is something new.

    A sink that raises ends a run over files. In a run with live sources it is *degraded*: it is
    not called for a while, what it loses is counted, and it is tried again (see `DegradingSink`).

    Attributes:
        needs: which frames it must see: ``all``, or those that were searched for faces.
        output: its name in metrics, events and the report; the name of its class where it is empty.
        on_error: ``raise`` ends live runs too: its errors are the program's.
    """

    needs: Needs = "searched"
    output: str = ""
    on_error: Literal["degrade", "raise"] = "degrade"

    def count_in(self, metrics: Metrics) -> None:
        """Where to count what is left out; called before the first frame."""

    def write(self, result: FrameResult) -> None:
        """Take a finished frame. It must not be changed: other sinks see the same one."""

    def enrich(self, event: Event) -> Event:
        """The event, or a copy with more in it; called once, before any sink gets the event."""
        return event

    def event(self, event: Event) -> None:
        """Take an event; `Left` is the whole sighting of a face that is gone."""

    def source_ended(self, source: str) -> None:
        """No more frames or sightings of this source will come."""

    def idle(self) -> None:
        """Called about once a second while nothing arrives, by a `BackgroundSink` only."""

    def check(self) -> bool:
        """Try to write, after an error; the next call follows.

        Returns:
            True when that worked; False when only the next frame or event can tell.

        Raises:
            OutputError: it still fails.
        """
        return False

    def close(self) -> None:
        """Finish the output, also after an error or an interruption.

        A pipeline calls it once. The sinks here take further calls, which do nothing.
        """


def needs_of(sinks: Iterable[Sink]) -> Needs:
    """The frames that these sinks together must see."""
    return "all" if any(sink.needs == "all" for sink in sinks) else "searched"


class SourcesSink(Sink):
    """Passes on the frames and events of some sources only, and events of no source; owns the inner
    sink.

    Args:
        sources: names of sources.
        taken: ``these`` passes on what comes from them, ``others`` what does not.
    """

    def __init__(
        self, inner: Sink, sources: Collection[str], *, taken: Literal["these", "others"] = "these"
    ) -> None:
        self.needs = inner.needs
        self.inner = inner
        self._sources = frozenset(sources)
        self._inside = taken == "these"

    def count_in(self, metrics: Metrics) -> None:
        self.inner.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        if self._takes(result.frame.source):
            self.inner.write(result)

    def enrich(self, event: Event) -> Event:
        return self.inner.enrich(event) if self._takes(event.source) else event

    def event(self, event: Event) -> None:
        if self._takes(event.source):
            self.inner.event(event)

    def source_ended(self, source: str) -> None:
        if self._takes(source):
            self.inner.source_ended(source)

    def close(self) -> None:
        self.inner.close()

    def _takes(self, source: str) -> bool:
        return not source or (source in self._sources) is self._inside


class CallbackSink(Sink):
    """Calls a function with each `FrameResult` and another one with each event."""

    on_error = "raise"

    def __init__(
        self,
        *,
        on_frame: Callable[[FrameResult], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._on_event = on_event

    def write(self, result: FrameResult) -> None:
        if self._on_frame is not None:
            self._on_frame(result)

    def event(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
