"""Says on the terminal who is recognised, as it happens."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console
from rich.text import Text

from ..core.events import Event, Identified, Updated
from ..sinks.base import Sink


class AnnounceSink(Sink):
    """Prints a line for every person identified by a live source.

    Args:
        console: where to; a progress bar on the same console stays below.
        sources: the live ones.
    """

    def __init__(self, console: Console, sources: Collection[str]) -> None:
        self._console = console
        self._sources = frozenset(sources)

    def event(self, event: Event) -> None:
        if event.source not in self._sources:
            return
        if isinstance(event, Identified):
            self._print(event, Text(event.name, style="green"))
        elif isinstance(event, Updated) and event.change == "renamed":
            name = Text(event.name, style="green").append(f" (not {event.previous_name})", "yellow")
            self._print(event, name)
        elif isinstance(event, Updated) and event.change == "withdrawn":
            self._print(event, Text(f"not {event.previous_name} after all", style="yellow"))

    def _print(self, event: Identified | Updated, who: Text) -> None:
        line = Text(f"{event.at.utc.astimezone():%H:%M:%S}  ", style="dim")
        line.append_text(who)
        line.append(f"  {event.source}  {event.similarity:.2f}", style="dim")
        self._console.print(line, soft_wrap=True)
