"""The state of a live source; each change goes to the log, the metrics and an event, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ..core.events import SourceStateEvent, State
from ..metrics.families import SOURCE_RESTARTS, SOURCE_STATE
from ..metrics.store import Metrics
from .file_reader import SourceState

log = logging.getLogger(__name__)

SUMMARY_EVERY = 600.0
"""Seconds between two log lines about a source that stays away."""
# Reasons of one outage that become events: some servers give another one each time.
_MAX_REASONS = 5


class Status:
    """The state of a live source; for the one thread that controls it.

    The first loss is a warning, then one line is logged in ten minutes. Another reason (first no
    answer, then a refused password) is a new event.

    Args:
        metrics: gets the state as one gauge per state, and the restarts.
        now: monotonic clock in seconds.
    """

    def __init__(
        self,
        state: SourceState,
        metrics: Metrics,
        on_state: Callable[[SourceStateEvent], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._on_state = on_state
        self._now = now
        self._reasons: set[str | None] = set()
        self._tries = 0
        self._lost_at = 0.0
        self._summed_up = 0.0

    @property
    def current(self) -> State | None:
        return self._state.state

    def live(self, *, reopened: bool = False) -> None:
        """Frames arrive; ``reopened`` when they come from another connection than before."""
        if reopened:
            self._state.restarts += 1
            self._metrics.add(SOURCE_RESTARTS, source=self._state.name)
        away = self._now() - self._lost_at if self.current == "retrying" else None
        if not self._change("live", None):
            return
        tries = "1 try" if self._tries == 1 else f"{self._tries} tries"
        again = "" if away is None else f" again after {away:.1f} s ({tries})"
        log.info("%s: live%s", self._state.name, again)
        self._tries = 0

    def stalled(self, reason: str) -> None:
        """It is connected, without new pictures."""
        if self._change("stalled", reason):
            log.warning("%s: stalled: %s", self._state.name, reason)

    def retrying(self, reason: str, pause: float) -> None:
        """It is lost or cannot be opened; the next attempt is in ``pause`` seconds."""
        now = self._now()
        if self.current != "retrying":
            self._reasons.clear()
            self._lost_at = self._summed_up = now
            self._tries = 0
        self._tries += 1
        new = reason not in self._reasons and len(self._reasons) < _MAX_REASONS
        if new:
            self._reasons.add(reason)
            self._change("retrying", reason, retry_in=pause)
            log.warning("%s: %s; next try in %.1f s", self._state.name, reason, pause)
        elif now - self._summed_up >= SUMMARY_EVERY:
            self._summed_up = now
            log.warning(
                "%s: still away after %.0f s and %d tries: %s",
                *(self._state.name, now - self._lost_at, self._tries, reason),
            )
        else:
            log.debug("%s: try %d: %s", self._state.name, self._tries, reason)

    def other(self, state: State, reason: str | None = None) -> None:
        if self._change(state, reason):
            level = logging.WARNING if state == "failed" else logging.INFO
            tail = f": {reason}" if reason else ""
            log.log(level, "%s: %s%s", self._state.name, state, tail)

    def _change(self, state: State, reason: str | None, *, retry_in: float | None = None) -> bool:
        """False when it is in this state already; ``retrying`` is repeated all the same."""
        previous = self._state.state
        if state == previous and retry_in is None:
            return False
        self._state.state = state
        name = self._state.name
        if previous is not None and previous != state:
            self._metrics.set(SOURCE_STATE, 0, source=name, state=previous)
        self._metrics.set(SOURCE_STATE, 1, source=name, state=state)
        self._on_state(
            SourceStateEvent(
                source=name,
                utc=datetime.now(UTC),
                state=state,
                previous=previous,
                reason=reason,
                retry_in=None if retry_in is None else round(retry_in, 3),
                restarts=self._state.restarts,
            )
        )
        return True
