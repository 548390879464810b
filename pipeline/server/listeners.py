"""Places for streams, which last: a limited number, and only while the actor is accepted."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from ..access.roles import Requester
from .authentication import still_valid
from .problems import RequestRefused
from .service import Service

CHECK_SECONDS: Final = 10.0


class StreamPass:
    """A stream's place: ask `valid` now and then, and `release` it at the end."""

    def __init__(self, service: Service, actor: Requester) -> None:
        if not service.stream_places.take(actor.name):
            raise RequestRefused(503, "too many streams", Retry_After="10")
        service.metrics.listeners.inc()
        self._service, self._actor = service, actor
        self._checked = time.monotonic()
        self._released = False

    async def valid(self) -> bool:
        """False once the actor's key or session is not accepted any more."""
        now = time.monotonic()
        if now - self._checked > CHECK_SECONDS:
            self._checked = now
            return await asyncio.to_thread(still_valid, self._actor, self._service)
        return True

    def release(self) -> None:
        """The stream has ended; may be repeated."""
        if not self._released:
            self._released = True
            self._service.stream_places.release(self._actor.name)
            self._service.metrics.listeners.dec()
