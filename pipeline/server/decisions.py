"""What the service does with decisions beside requests: unknown people, and the past."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from facestream.engines.closing import Closing
from facestream.engines.errors import EngineError

from ..core.config import Settings
from ..core.errors import FacestreamError
from ..sightings import Sightings
from ..sightings.reidentify import reidentify
from ..sightings.unknowns import Unknowns
from ..storage.audit import AuditEntry, audited
from .jobs import Jobs, Step
from .problems import RequestRefused

log = logging.getLogger(__name__)

UPDATE_SECONDS: Final = 2.0
"""Clusters are brought up to date at most so often."""
PATIENCE_SECONDS: Final = 2.0


class _Closed(Exception):
    """Ends an update."""


class UnknownUpdates(Closing):
    """Puts new sightings into clusters when somebody looks at them, in a thread of its own.

    Args:
        sightings: the database.
        settings: say when two faces are one person.
    """

    def __init__(self, sightings: Sightings, settings: Settings) -> None:
        self._unknowns = Unknowns(sightings, settings, who="facestream")
        self._lock = threading.Lock()
        self._ended = -UPDATE_SECONDS
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._closing = False

    def bring_up_to_date(self) -> bool:
        """Start an update, and wait for it a little; False where it goes on."""
        with self._lock:
            if self._thread is None:
                if time.monotonic() - self._ended < UPDATE_SECONDS or self._closing:
                    return True
                self._done.clear()
                self._thread = threading.Thread(target=self._update, name="unknown", daemon=True)
                self._thread.start()
        return self._done.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """End after the batch that goes on."""
        self._closing = True
        thread = self._thread
        if thread is not None:
            thread.join()

    def _update(self) -> None:
        try:
            self._unknowns.update(progress=self._go_on)
        except _Closed:
            pass
        except (FacestreamError, EngineError) as error:
            log.warning("unknown people are not brought up to date: %s", error)
        finally:
            with self._lock:
                self._ended, self._thread = time.monotonic(), None
            self._done.set()

    def _go_on(self, _done: int, *, total: int) -> None:
        if self._closing:
            raise _Closed


class Reidentification:
    """Looks for people who got photos among past sightings: one job for all who wait."""

    def __init__(self, jobs: Jobs, sightings: Sightings, settings: Settings) -> None:
        self._jobs = jobs
        self._sightings = sightings
        self._settings = settings
        self._lock = threading.Lock()
        self._waiting: dict[int, AuditEntry] = {}
        self._job: str | None = None

    def start(self, person: int, entry: AuditEntry) -> str | None:
        """Look for a person soon.

        Returns:
            The job; None where there is no sighting yet, or too many jobs wait: then the next one
            looks for this person, too.
        """
        if not self._sightings.any():
            return None
        with self._lock:
            self._waiting[person] = entry
            try:
                if self._job is None or self._jobs.get(self._job).state != "waiting":
                    self._job = self._jobs.start("reidentify", entry.actor, self._work).id
            except RequestRefused:
                self._job = None
            return self._job

    def _work(self, step: Step) -> Mapping[str, Any]:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        named = 0
        for entry in dict.fromkeys(waiting.values()):
            with audited(entry):
                named += reidentify(
                    self._sightings,
                    self._settings,
                    [person for person, one in waiting.items() if one == entry],
                    who=entry.actor,
                    progress=lambda done, *, total: step(done, total),
                )
        return {"named": named}
