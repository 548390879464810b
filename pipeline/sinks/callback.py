"""Calls the user's own functions."""

from __future__ import annotations

from collections.abc import Callable

from ..events import Sighting
from ..types import FrameResult
from .base import Sink


class CallbackSink(Sink):
    """Calls a function for each frame and for each sighting.

    Args:
        on_frame: gets each `FrameResult`.
        on_sighting: gets each `Sighting`.
    """

    def __init__(
        self,
        *,
        on_frame: Callable[[FrameResult], None] | None = None,
        on_sighting: Callable[[Sighting], None] | None = None,
    ) -> None:
        self._on_frame = on_frame
        self._on_sighting = on_sighting

    def write(self, result: FrameResult) -> None:
        if self._on_frame is not None:
            self._on_frame(result)

    def sighting(self, event: Sighting) -> None:
        if self._on_sighting is not None:
            self._on_sighting(event)
