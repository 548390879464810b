"""What a sink is: where results and sightings go."""

from __future__ import annotations

from typing import Literal

from facestream.engines.closing import Closing

from ..core.events import Event
from ..core.types import FrameResult
from ..metrics import Metrics

Needs = Literal["all", "searched"]


class Sink(Closing):
    """Takes what the pipeline finds; override what is of interest.

    All methods are called from one thread, in the order of each source. A constructor checks
    that its output can be written and raises ``OutputError`` if not, before anything runs; it
    leaves what an earlier run wrote alone until there is something new. A sink that raises
    stops the run.

    Attributes:
        needs: which frames it must see: ``all``, or those that were searched for faces.
    """

    needs: Needs = "searched"

    def count_in(self, metrics: Metrics) -> None:
        """Where to count what is left out; called before the first frame."""

    def write(self, result: FrameResult) -> None:
        """Take a finished frame. It must not be changed: other sinks see the same one."""

    def event(self, event: Event) -> None:
        """Take what happened; `Left` is the whole sighting of a face that is gone."""

    def source_ended(self, source: str) -> None:
        """No more frames or sightings of this source will come."""

    def close(self) -> None:
        """Finish the output; called once, also after an error or an interruption."""
