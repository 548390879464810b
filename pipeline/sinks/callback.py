"""Calls the user's own functions."""

from __future__ import annotations

from collections.abc import Callable

from ..core.events import Event
from ..core.types import FrameResult
from .base import Sink


class CallbackSink(Sink):
    """Calls a function for each frame and for each event.

    Args:
        on_frame: gets each `FrameResult`.
        on_event: gets each event.
    """

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
