"""The event that tells how a source is."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from .base import EventBase

State = Literal[
    "connecting",  # being opened for the first time
    "live",  # frames arrive
    "stalled",  # no frames, or for a long time the very same picture
    "retrying",  # lost or not to be opened; tried again after a pause
    "paused",  # outside its schedule
    "ended",  # at its end, or the run was stopped
    "failed",  # given up
]


class SourceStateEvent(EventBase):
    """A source came into another state."""

    type: Literal["source_state"] = "source_state"
    """Kind of event."""
    utc: AwareDatetime
    """When (UTC, ISO 8601)."""
    state: State
    """The new state."""
    previous: State | None = None
    """The state before; null for the first."""
    reason: str | None = None
    """What happened, for people, without credentials; null where nothing needs to be said."""
    retry_in: float | None = None
    """Seconds until the next try; null when none is planned."""
    restarts: int = 0
    """How many times it was opened again so far."""
